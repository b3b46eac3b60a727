//! What stands between the stream that many watches share and the consumer of one.
//!
//! It takes updates until it holds so many bytes; then the watch is paused at the server and asked
//! for again, from where it stopped, when the consumer has come so far. So a slow consumer holds
//! bounded memory and holds nobody up.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::core::{Acceptance, Output};
use super::event::{Event, Update};
use crate::error::Error;
use crate::kv::KeyValue;
use crate::revision::Revision;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Result<Update, Error>>,
    bytes: usize,
    created: Option<Revision>,
    is_paused: bool,
    is_ended: bool,
    waker: Option<Waker>,
}

/// What the consumer gets.
pub(super) struct Taken {
    pub(super) item: Option<Result<Update, Error>>,
    /// The watch was paused, and is to be asked for again.
    pub(super) resumes: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State::default()),
            bytes_max,
        }
    }

    pub(super) fn push(&self, output: Output) -> Acceptance {
        let mut state = self.state.lock();
        let acceptance = state.push(output, self.bytes_max);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        acceptance
    }

    /// Waits until the server has the watch; an error if it refuses.
    pub(super) fn poll_created(&self, cx: &mut Context<'_>) -> Poll<Result<Revision, Error>> {
        let mut state = self.state.lock();
        if let Some(revision) = state.created {
            return Poll::Ready(Ok(revision));
        }
        match state.items.front() {
            Some(Err(error)) => Poll::Ready(Err(error.clone())),
            // Compacted: the consumer hears it as its first item.
            Some(Ok(Update::Compacted(revision))) => Poll::Ready(Ok(*revision)),
            Some(Ok(_)) | None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Taken> {
        let mut state = self.state.lock();
        let item = state.items.pop_front();
        if item.is_none() && !state.is_ended {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(Ok(update)) = &item {
            state.bytes = state.bytes.saturating_sub(size(update));
        }
        let resumes = state.is_paused && state.bytes <= self.bytes_max / 2;
        if resumes {
            state.is_paused = false;
        }
        Poll::Ready(Taken { item, resumes })
    }
}

impl State {
    fn push(&mut self, output: Output, bytes_max: usize) -> Acceptance {
        match output {
            Output::Created(revision) => {
                self.created.get_or_insert(revision);
            }
            Output::Failed(error) => {
                self.is_ended = true;
                self.items.push_back(Err(error));
            }
            Output::Update(update @ Update::Events { .. }) => {
                // One that is larger than the bound is taken alone.
                if !self.items.is_empty() && self.bytes + size(&update) > bytes_max {
                    self.is_paused = true;
                    return Acceptance::Full;
                }
                self.bytes += size(&update);
                self.items.push_back(Ok(update));
            }
            Output::Update(update @ Update::Progress(_)) => match self.items.back_mut() {
                // News of progress replaces older news.
                Some(Ok(last @ Update::Progress(_))) => *last = update,
                _ => self.items.push_back(Ok(update)),
            },
            Output::Update(update @ Update::Compacted(_)) => {
                self.is_ended = true;
                self.items.push_back(Ok(update));
            }
        }
        Acceptance::Taken
    }
}

/// What an event costs beside its bytes.
const EVENT_BYTES: usize = size_of::<Event>();

fn size(update: &Update) -> usize {
    let Update::Events { events, .. } = update else {
        return 0;
    };
    let of_kv = |kv: &KeyValue| kv.key.len() + kv.value.len();
    let of_event = |event: &Event| {
        let own = match event {
            Event::Put { kv, .. } => of_kv(kv),
            Event::Delete { key, .. } => key.len(),
        };
        EVENT_BYTES + own + event.previous().map_or(0, of_kv)
    };
    events.iter().map(of_event).sum()
}
