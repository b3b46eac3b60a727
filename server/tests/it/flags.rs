//! Flags that change how a start ends or what it says, as processes show it.

use crate::harness::{Place, Server, until};

/// The line of the settings, among what a server has logged.
fn settings_line(log: &str) -> serde_json::Value {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut lines = lines.filter(|line| line["msg"] == "starting an etcd server");
    lines.next().unwrap()
}

#[test]
fn a_value_that_its_flag_cannot_take_ends_the_process_as_etcds_does() {
    for value in ["not-yet", "nonsense"] {
        let refusal = Place::new(&[&format!("--v2-deprecation={value}")]).refusal();
        assert_eq!(refusal.status.code(), Some(2));
        let told = format!(
            "invalid value \"{value}\" for flag -v2-deprecation: invalid value \"{value}\""
        );
        assert!(refusal.log.contains(&told), "{}", refusal.log);
    }
    let metrics = Place::new(&["--listen-metrics-urls=https://127.0.0.1:0"]).refusal();
    assert_eq!(metrics.status.code(), Some(1));
    let told =
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url";
    assert!(metrics.log.contains(told), "{}", metrics.log);
}

#[tokio::test]
async fn deprecated_flags_are_named_and_the_settings_say_what_counts() {
    let server = Server::start(&[
        "--max-snapshots=3",
        "--v2-deprecation=gone",
        "--bootstrap-defrag-threshold-megabytes=1",
    ]);
    until("the lines", async || {
        let log = server.log();
        [
            "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
            "--v2-deprecation is deprecated and scheduled for removal in v3.8.",
            "Skipping defragmentation",
        ]
        .iter()
        .all(|line| log.contains(line))
    })
    .await;
    let settings = settings_line(&server.log()).to_string();
    assert!(settings.contains("write-only"), "{settings}");
    assert!(!settings.contains("gone"), "{settings}");
}
