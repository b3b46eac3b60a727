//! `check perf`.

use std::time::Duration;

use super::load::{self, Outcome, Plan};
use super::{check_empty, compact, defragment, delete, size};
use crate::failure::Failure;
use crate::progress::{self, Unit};
use crate::session::{Context, Session, interrupted, put_out};

/// Puts in a second and clients, by size.
const LOADS: [(u64, usize); 4] = [(150, 50), (1000, 200), (8000, 500), (15000, 1000)];
const TIME: Duration = Duration::from_secs(60);
const KEY_BYTES: usize = 256;
const VALUE_BYTES: usize = 1024;

/// What a healthy cluster manages: of the puts asked for; and in seconds.
const RATE_MIN: f64 = 0.9;
const SLOWEST_MAX: f64 = 0.5;
const DEVIATION_MAX: f64 = 0.1;

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let (per_second, clients) = LOADS.get(size(context)?).copied().unwrap_or_default();
    let prefix = context.flags.text("prefix");
    let session = context.session().await?;
    let command = format!("'etcdctl del --prefix {prefix}'");
    check_empty(&session, &prefix, &command).await?;
    let sessions = load::sessions(context, clients).await?;
    let plan = Plan {
        prefix: prefix.clone(),
        key_bytes: KEY_BYTES,
        value_bytes: VALUE_BYTES,
        puts: u64::MAX,
        pace: Some((per_second, TIME)),
    };
    let bar = progress::bar(Some(TIME.as_secs()), Unit::Seconds, "Writing");
    let seconds = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            bar.inc(1);
        }
    };
    let outcome = tokio::select! {
        outcome = load::run(plan, sessions, &bar) => Some(outcome),
        () = seconds => None,
        () = interrupted() => None,
    };
    bar.finish_and_clear();
    let auto_compact = context.flags.is("auto-compact") && outcome.is_some();
    clean_up(&session, &prefix, auto_compact).await?;
    let Some(outcome) = outcome else {
        return Err(Failure::error("interrupted"));
    };
    if context.flags.is("auto-defrag") {
        defragment(&session).await?;
    }
    let (verdict, passed) = verdict_of(&outcome, per_second);
    put_out(verdict.as_bytes())?;
    if passed { Ok(()) } else { Err(Failure::told()) }
}

async fn clean_up(session: &Session, prefix: &str, auto_compact: bool) -> Result<(), Failure> {
    match delete(session, prefix).await {
        Ok(revision) if auto_compact => compact(session, revision).await,
        Ok(_) => Ok(()),
        Err(Failure { message, .. }) => put_out(
            format!("FAIL: Cleanup failed during key deletion: ERROR({message})\n").as_bytes(),
        ),
    }
}

/// What is said of an outcome, and whether it is good enough.
fn verdict_of(outcome: &Outcome, per_second: u64) -> (String, bool) {
    let mut passed = outcome.errors.is_empty();
    let mut text = String::new();
    if !passed {
        text.push_str("FAIL: too many errors\n");
    }
    for (error, count) in &outcome.errors {
        text.push_str(&format!("FAIL: ERROR({error}) -> {count}\n"));
    }
    let mut line = |is_good: bool, good: String, bad: String| {
        passed &= is_good;
        text.push_str(if is_good { &good } else { &bad });
        text.push('\n');
    };
    let rate = outcome.rate();
    let whole = rate.floor() + 1.0;
    line(
        rate / per_second as f64 > RATE_MIN,
        format!("PASS: Throughput is {whole:.0} writes/s"),
        format!("FAIL: Throughput too low: {whole:.0} writes/s"),
    );
    let slowest = outcome.slowest_secs();
    line(
        slowest <= SLOWEST_MAX,
        format!("PASS: Slowest request took {slowest:.6}s"),
        format!("Slowest request took too long: {slowest:.6}s"),
    );
    let deviation = outcome.deviation_secs();
    line(
        deviation <= DEVIATION_MAX,
        format!("PASS: Stddev is {deviation:.6}s"),
        format!("Stddev too high: {deviation:.6}s"),
    );
    text.push_str(if passed { "PASS\n" } else { "FAIL\n" });
    (text, passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_passes_if_it_keeps_the_pace_and_is_never_slow() {
        let mut outcome = Outcome {
            took: vec![Duration::from_millis(2); 9000],
            elapsed: Duration::from_secs(60),
            ..Outcome::default()
        };
        let expected = "PASS: Throughput is 151 writes/s\nPASS: Slowest request took 0.002000s\n\
                        PASS: Stddev is 0.000000s\nPASS\n";
        assert_eq!(verdict_of(&outcome, 150), (expected.to_owned(), true));
        outcome.took.push(Duration::from_secs(30));
        outcome
            .errors
            .insert("etcdserver: request timed out".to_owned(), 1);
        let (text, passed) = verdict_of(&outcome, 1000);
        let expected = "FAIL: too many errors\nFAIL: ERROR(etcdserver: request timed out) -> 1\n\
                        FAIL: Throughput too low: 151 writes/s\n\
                        Slowest request took too long: 30.000000s\nStddev too high: 0.316172s\n\
                        FAIL\n";
        assert_eq!((text.as_str(), passed), (expected, false));
    }
}
