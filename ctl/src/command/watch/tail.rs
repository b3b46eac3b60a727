//! `watch --tail`: a line a change, and what changed in values.

use cairn_client::{Event, Update, Watch};

use crate::failure::{Exit, Failure};
use crate::paint::{Paint, Tone};
use crate::session::{failure, put_out};
use crate::value_diff::{brief, lines};

/// Prints changes until the watch ends.
pub(super) async fn follow(mut watch: Watch) -> Result<(), Failure> {
    let paint = Paint::for_stdout();
    while let Some(update) = watch.next().await {
        match update.map_err(|error| failure(Exit::Interrupted, &error))? {
            Update::Events { events, .. } => {
                let text: String = events.iter().map(|event| told(event, paint)).collect();
                put_out(text.as_bytes())?;
            }
            Update::Progress(_) => {}
            Update::Compacted(revision) => {
                let message = format!(
                    "etcdserver: mvcc: required revision has been compacted; the oldest is {revision}"
                );
                return Err(Failure::new(Exit::Interrupted, message));
            }
        }
    }
    Ok(())
}

fn told(event: &Event, paint: Paint) -> String {
    let key = brief(event.key());
    let revision = paint.in_tone(Tone::Faint, format!("#{}", event.revision()));
    match event {
        Event::Put { kv, previous: None } => {
            let key = paint.in_tone(Tone::Added, format!("+ {key}"));
            format!("{revision} {key} = {}\n", brief(&kv.value))
        }
        Event::Put {
            kv,
            previous: Some(previous),
        } => {
            let key = paint.in_tone(Tone::Changed, format!("~ {key}"));
            let changes = lines(&previous.value, &kv.value, paint);
            let changes: String = changes.iter().map(|line| format!("    {line}\n")).collect();
            let same = if changes.is_empty() {
                " (same value)"
            } else {
                ""
            };
            format!("{revision} {key}{same}\n{changes}")
        }
        Event::Delete { .. } => {
            let key = paint.in_tone(Tone::Removed, format!("- {key}"));
            format!("{revision} {key}\n")
        }
    }
}
