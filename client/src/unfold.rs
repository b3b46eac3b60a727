//! A stream from a function that makes its next item.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_stream::Stream;

/// A future that may move between threads.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Step<S, T> = BoxFuture<Option<(T, S)>>;

/// See [`unfold`].
pub(crate) struct Unfold<S, T> {
    state: Option<S>,
    running: Option<Step<S, T>>,
    next: Box<dyn FnMut(S) -> Step<S, T> + Send>,
}

/// A stream of what `next` makes of a state, until it returns `None`. Nothing runs but when the
/// stream is polled, and dropping it stops it.
pub(crate) fn unfold<S, T, F>(state: S, mut next: F) -> Unfold<S, T>
where
    F: FnMut(S) -> Step<S, T> + Send + 'static,
{
    Unfold {
        state: Some(state),
        running: None,
        next: Box::new(move |state| next(state)),
    }
}

impl<S: Unpin, T> Stream for Unfold<S, T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if let Some(state) = self.state.take() {
            let step = (self.next)(state);
            self.running = Some(step);
        }
        let Some(running) = &mut self.running else {
            return Poll::Ready(None);
        };
        let ended = ready!(running.as_mut().poll(cx));
        self.running = None;
        Poll::Ready(ended.map(|(item, state)| {
            self.state = Some(state);
            item
        }))
    }
}
