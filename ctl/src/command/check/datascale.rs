//! `check datascale`.

use super::load::{self, Plan};
use super::memory::resident_bytes;
use super::{check_empty, compact, defragment, delete, size};
use crate::failure::Failure;
use crate::progress::{self, Unit};
use crate::session::{Context, Session, put_out};

/// Pairs and clients, by size.
const LOADS: [(u64, usize); 4] = [
    (10_000, 50),
    (100_000, 200),
    (1_000_000, 500),
    (3_000_000, 1000),
];
const KEY_BYTES: usize = 512;
const VALUE_BYTES: usize = 512;
const PAIR_BYTES: usize = KEY_BYTES + VALUE_BYTES;
const MIB: f64 = 1024.0 * 1024.0;

async fn memory(session: &Session, endpoint: &str, when: &str) -> Result<f64, Failure> {
    match resident_bytes(session, endpoint).await {
        Ok(bytes) => Ok(bytes),
        Err(reason) => {
            let text = format!(
                "{reason}\nFAIL: Could not read process_resident_memory_bytes {when} the put operations.\n"
            );
            put_out(text.as_bytes())?;
            Err(Failure::told())
        }
    }
}

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let (puts, clients) = LOADS.get(size(context)?).copied().unwrap_or_default();
    let prefix = context.flags.text("prefix");
    let session = context.session().await?;
    let command = format!("etcdctl del --prefix {prefix}");
    check_empty(&session, &prefix, &command).await?;
    let sessions = load::sessions(context, clients).await?;
    let endpoint = session
        .globals
        .endpoints
        .first()
        .cloned()
        .unwrap_or_default();
    let before = memory(&session, &endpoint, "before").await?;
    put_out(
        format!(
            "Start data scale check for work load [{puts} key-value pairs, {PAIR_BYTES} bytes per \
             key-value, {clients} concurrent clients].\n"
        )
        .as_bytes(),
    )?;
    let plan = Plan {
        prefix: prefix.clone(),
        key_bytes: KEY_BYTES,
        value_bytes: VALUE_BYTES,
        puts,
        pace: None,
    };
    let bar = progress::bar(Some(puts), Unit::Keys, "Writing");
    let outcome = load::run(plan, sessions, &bar).await;
    bar.finish_and_clear();
    let after = memory(&session, &endpoint, "after").await?;
    let revision = delete(&session, &prefix).await?;
    if context.flags.is("auto-compact") {
        compact(&session, revision).await?;
    }
    if context.flags.is("auto-defrag") {
        defragment(&session).await?;
    }
    if !outcome.errors.is_empty() {
        let mut text = "FAIL: too many errors\n".to_owned();
        for (error, count) in &outcome.errors {
            text.push_str(&format!("FAIL: ERROR({error}) -> {count}\n"));
        }
        put_out(text.as_bytes())?;
        return Err(Failure::told());
    }
    let used = (after - before) / MIB;
    put_out(format!("PASS: Approximate system memory used : {used:.2} MB.\n").as_bytes())
}
