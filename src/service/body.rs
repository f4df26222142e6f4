//! The body of every response that leaves the layer.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::{
    task::coop::consume_budget,
    time::{Instant, timeout_at},
};

pin_project! {
    /// The body of a response of [`WebSocketService`](super::WebSocketService): the inner service's,
    /// a few words that explain a refusal, or nothing.
    ///
    /// The default is empty.
    ///
    /// A body that wraps this one must pass [`is_end_stream`](Body::is_end_stream) on. hyper asks
    /// that of the body it sends, which is how the layer knows that its 101 was not replaced by
    /// another layer's response; a 101 whose body was not asked opens no connection, and an error is
    /// logged. Of tower-http's layers `ResponseBodyTimeoutLayer` does not pass it on: put it
    /// elsewhere.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    #[derive(Debug)]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Text { text: Bytes },
        Switching { witness: Option<Witness> },
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    pub(super) fn text(text: Bytes) -> Self {
        Self {
            kind: Kind::Text { text },
        }
    }

    /// The empty body of a 101 or 200, which tells `witness` when it is really sent.
    pub(super) fn switching(witness: Option<Witness>) -> Self {
        Self {
            kind: Kind::Switching { witness },
        }
    }
}

impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::text(Bytes::new())
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Text { text } if text.is_empty() => Poll::Ready(None),
            KindProj::Text { text } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(text))))),
            KindProj::Switching { .. } => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Text { text } => text.is_empty(),
            Kind::Switching { witness } => {
                if let Some(witness) = witness {
                    witness.testify();
                }
                true
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Text { text } => SizeHint::with_exact(text.len() as u64),
            Kind::Switching { .. } => SizeHint::with_exact(0),
        }
    }
}

/// Knows whether the answer to a handshake was really sent.
///
/// hyper hands the stream over after any HTTP/1.1 response, also where another layer replaced our
/// 101; but it asks the body it sends whether it is at its end. A layer that asks by itself makes
/// the session go ahead, as it would without a witness. A body around ours that does not pass the
/// question on, such as that of tower-http's `ResponseBodyTimeoutLayer`, ends the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Arc<AtomicBool>);

impl Witness {
    fn testify(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn was_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Reads a refusal's body, as far as it is of interest and comes in time.
#[cfg_attr(
    not(any(feature = "client", feature = "testing")),
    expect(dead_code, reason = "clients do")
)]
pub(crate) async fn collect<B: Body>(
    response: Response<B>,
    until: Option<Instant>,
) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    let reading = async {
        while bytes.len() < MAX_REFUSAL
            && let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await
        {
            if let Ok(mut data) = frame.into_data() {
                let len = data.remaining().min(MAX_REFUSAL - bytes.len());
                bytes.extend_from_slice(&data.copy_to_bytes(len));
            }
            consume_budget().await;
        }
    };
    in_time(until, reading).await;
    Response::from_parts(head, bytes.into())
}

/// Gives the reading of a refusal's body its time. What is read without a pause has to consume the
/// task's budget: nobody looks at the clock otherwise.
pub(crate) async fn in_time(until: Option<Instant>, reading: impl Future<Output = ()>) {
    let patience = Instant::now() + REFUSAL_PATIENCE;
    let until = until.map_or(patience, |until| until.min(patience));
    let _late = timeout_at(until, reading).await;
}

/// How long a refusal's body is waited for. Its head says all that a program goes by, and a body that
/// comes does so behind it.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// How much of a refusal is kept, in bytes.
pub(crate) const MAX_REFUSAL: usize = 64 << 10;
