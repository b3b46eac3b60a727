//! The `tracing` layer that turns events into lines.

use std::sync::Arc;

use bytes::Bytes;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::line::{EventText, Line, caller_of, level_name};
use super::output::Output;
use super::timestamp::{format_time, now};
use crate::settings::LogFormat;

/// Formats an event once and queues it at every output.
pub(super) struct EventLayer {
    format: LogFormat,
    outputs: Arc<[Output]>,
}

impl EventLayer {
    pub(super) fn new(format: LogFormat, outputs: Arc<[Output]>) -> Self {
        Self { format, outputs }
    }
}

impl<S: Subscriber> Layer<S> for EventLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        let text = EventText::of(event);
        let line = Line {
            level: level_name(*metadata.level()),
            time: &format_time(now()),
            caller: &caller_of(metadata),
            message: &text.message,
            fields: &text.fields,
        };
        let line = Bytes::from(line.format(self.format));
        for output in self.outputs.iter() {
            output.push(line.clone());
        }
    }
}
