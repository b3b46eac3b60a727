//! Calls of somebody else, passed on as they are: headers, messages as bytes, trailers.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};

use super::connection::Connection;
use super::failure::CallFailure;
use super::vital::Open;

/// Headers that are a connection's, or that the relay writes itself.
const NOT_PASSED_ON: [&str; 6] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
];

impl Connection {
    /// Passes a call on; its answer's body is read as it comes.
    pub(crate) async fn relay<B>(
        &self,
        call: Request<B>,
    ) -> Result<Response<RelayedBody>, CallFailure>
    where
        B: Body<Data = Bytes, Error: Send> + Send + 'static,
    {
        let (head, body) = call.into_parts();
        let path = head.uri.path_and_query().cloned();
        let path =
            path.ok_or_else(|| CallFailure::NotProcessed("a call without a path".to_owned()))?;
        let mut headers = head.headers;
        for name in NOT_PASSED_ON {
            headers.remove(name);
        }
        let (response, stream) = self.begin_relay(path, headers).await?;
        let open = self.vital().open();
        tokio::spawn(feed(body, stream));
        let response = response.await;
        let response = response.map_err(|error| CallFailure::of_stream(&error))?;
        Ok(response.map(|body| RelayedBody {
            body,
            has_data: true,
            _open: open,
        }))
    }
}

/// Sends a body to its end, or gives the call up with it.
async fn feed<B>(body: B, mut stream: SendStream<Bytes>)
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    loop {
        let frame = tokio::select! {
            frame = poll_fn(|cx| body.as_mut().poll_frame(cx)) => frame,
            _ = poll_fn(|cx| stream.poll_reset(cx)) => return,
        };
        match frame {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data()
                    && send(data, &mut stream).await.is_none()
                {
                    return;
                }
            }
            Some(Err(_)) => {
                stream.send_reset(h2::Reason::CANCEL);
                return;
            }
            None => {
                // A call that has ended needs no end of its requests.
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
        }
    }
}

/// Sends as the other side takes; none if it takes no more.
async fn send(mut data: Bytes, stream: &mut SendStream<Bytes>) -> Option<()> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        let chunk = data.split_to(room.min(data.len()));
        stream.send_data(chunk, false).ok()?;
    }
    Some(())
}

/// The body of an answer that is passed on.
pub struct RelayedBody {
    body: RecvStream,
    has_data: bool,
    _open: Open,
}

impl Body for RelayedBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let relayed = self.get_mut();
        if relayed.has_data {
            match ready!(relayed.body.poll_data(cx)) {
                Some(Ok(data)) => {
                    let _ = relayed.body.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => relayed.has_data = false,
            }
        }
        let trailers: Option<HeaderMap> = ready!(relayed.body.poll_trailers(cx))?;
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    /// An error is an answer without a body, which ends with its head: Go's clients take no other.
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
