//! The body of every response that leaves the layer.

use std::{
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a response of [`WebSocketService`](super::WebSocketService).
    ///
    /// It is the inner service's, a few words that explain a refusal, or nothing.
    ///
    /// The default is empty.
    ///
    /// A body that wraps this one must pass [`is_end_stream`](Body::is_end_stream) on.
    /// hyper calls it on the body that it sends, which is how the layer knows that another layer has not
    /// replaced its 101. If it is not called on the body of a 101, no connection opens, and
    /// an error is logged. Of tower-http's layers `ResponseBodyTimeoutLayer` does not pass it on: put
    /// it elsewhere.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        content: BodyKind<B>,
    }
}

pin_project! {
    #[project = BodyKindProj]
    #[derive(Debug)]
    enum BodyKind<B> {
        Inner { #[pin] body: B },
        Text { text: Bytes },
        Switching { witness: Option<Witness> },
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn inner(body: B) -> Self {
        Self {
            content: BodyKind::Inner { body },
        }
    }

    pub(super) fn text(text: Bytes) -> Self {
        Self {
            content: BodyKind::Text { text },
        }
    }

    /// Makes the empty body of a 101 or 200, which marks `witness` when it is really sent.
    pub(super) fn switching(witness: Option<Witness>) -> Self {
        Self {
            content: BodyKind::Switching { witness },
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
        match self.project().content.project() {
            BodyKindProj::Inner { body } => body.poll_frame(cx),
            BodyKindProj::Text { text } if text.is_empty() => Poll::Ready(None),
            BodyKindProj::Text { text } => Poll::Ready(Some(Ok(Frame::data(mem::take(text))))),
            BodyKindProj::Switching { .. } => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            BodyKind::Inner { body } => body.is_end_stream(),
            BodyKind::Text { text } => text.is_empty(),
            BodyKind::Switching { witness } => {
                if let Some(witness) = witness {
                    witness.testify();
                }
                true
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            BodyKind::Inner { body } => body.size_hint(),
            BodyKind::Text { text } => SizeHint::with_exact(text.len() as u64),
            BodyKind::Switching { .. } => SizeHint::with_exact(0),
        }
    }
}

/// Knows whether the answer to a handshake was really sent.
///
/// hyper hands the stream over after any HTTP/1.1 response, also if another layer replaced our
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
