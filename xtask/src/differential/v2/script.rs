//! What is asked of the second API, at random.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// One step of a script.
#[derive(Clone, Debug)]
pub(in crate::differential) enum V2Step {
    /// A request that is answered at once.
    Ask {
        method: &'static str,
        path: String,
        form: Option<String>,
    },
    /// Somebody begins to wait; what came is looked at in the end.
    Wait {
        path: String,
        /// The index to begin at, counted from that of the new member.
        from: Option<u64>,
    },
}

impl V2Step {
    pub(super) fn show(&self) -> String {
        match self {
            Self::Ask { method, path, form } => {
                format!("{method} {path} {}", form.as_deref().unwrap_or("(no form)"))
            }
            Self::Wait { path, from } => format!("GET {path} from {from:?}"),
        }
    }
}

/// The script of a seed.
pub(super) fn script(seed: u64, steps: usize) -> Vec<V2Step> {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..steps).map(|_| step(&mut rng)).collect()
}

fn step(rng: &mut SmallRng) -> V2Step {
    if rng.random_bool(0.15) {
        return wait(rng);
    }
    let method = pick(
        rng,
        &["PUT", "PUT", "PUT", "GET", "GET", "DELETE", "POST", "HEAD"],
    );
    let mut path = format!("/v2/keys{}", key(rng));
    let fields = match method {
        "GET" | "HEAD" => reading(rng),
        "DELETE" => deleting(rng),
        _ => writing(rng),
    };
    let as_form = matches!(method, "PUT" | "POST") && rng.random_bool(0.8);
    let form = as_form.then(|| fields.clone());
    if !as_form && !fields.is_empty() {
        path = format!("{path}?{fields}");
    }
    V2Step::Ask { method, path, form }
}

fn wait(rng: &mut SmallRng) -> V2Step {
    let mut path = format!("/v2/keys{}?wait=true", key(rng));
    for flag in ["&recursive=true", "&stream=true"] {
        if rng.random_bool(0.5) {
            path += flag;
        }
    }
    let from = rng.random_bool(0.5).then(|| rng.random_range(1..60));
    V2Step::Wait { path, from }
}

fn key(rng: &mut SmallRng) -> String {
    let depth = pick(rng, &[0, 1, 1, 1, 2, 2, 3]);
    let names = ["a", "b", "ab", "_h", "c%20d", "%C3%A9%3C"];
    let mut key: String = (0..depth)
        .map(|_| format!("/{}", pick(rng, &names)))
        .collect();
    if rng.random_bool(0.05) {
        key += "/";
    }
    key
}

fn reading(rng: &mut SmallRng) -> String {
    // Without an order etcd's is of chance.
    let mut fields = "sorted=true".to_owned();
    for field in [
        "recursive=true",
        "quorum=true",
        "recursive=x",
        "waitIndex=x",
    ] {
        let often = if field.ends_with('x') { 0.03 } else { 0.3 };
        if rng.random_bool(often) {
            fields = format!("{fields}&{field}");
        }
    }
    fields
}

fn deleting(rng: &mut SmallRng) -> String {
    let fields = [
        "recursive=true",
        "dir=true",
        "prevValue=x",
        "prevValue=",
        "noValueOnSuccess=true",
    ];
    some_of(rng, &fields, 0.25)
}

fn writing(rng: &mut SmallRng) -> String {
    let fields = [
        "value=x",
        "value=y%0A%26%FF",
        "dir=true",
        "ttl=100",
        "ttl=",
        "ttl=x",
        "prevExist=true",
        "prevExist=false",
        "prevValue=x",
        "refresh=true",
        "noValueOnSuccess=true",
        "wait=true",
        "%zz=1",
    ];
    let often = |field: &&str| match *field {
        "value=x" => 0.6,
        "ttl=x" | "wait=true" | "%zz=1" => 0.02,
        _ => 0.15,
    };
    let chosen: Vec<&str> = fields
        .into_iter()
        .filter(|field| rng.random_bool(often(field)))
        .collect();
    chosen.join("&")
}

fn some_of(rng: &mut SmallRng, fields: &[&str], often: f64) -> String {
    let chosen: Vec<&str> = fields
        .iter()
        .copied()
        .filter(|_| rng.random_bool(often))
        .collect();
    chosen.join("&")
}

fn pick<T: Copy + Default>(rng: &mut SmallRng, choices: &[T]) -> T {
    choices.choose(rng).copied().unwrap_or_default()
}
