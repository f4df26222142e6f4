//! The future of a response.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{BoxError, Service};

use super::{accepting::Accepting, body::ResponseBody};
use crate::session::WebSocket;

pin_project! {
    /// The future of [`WebSocketService`](super::WebSocketService).
    ///
    /// Dropping it before it is ready leaves the handshake unanswered; no session is started.
    pub struct ResponseFuture<F, H> {
        #[pin]
        state: ResponseState<F, H>,
    }
}

pin_project! {
    #[project = ResponseStateProj]
    enum ResponseState<F, H> {
        Inner { #[pin] future: F },
        Refused { response: Option<Box<Response<Bytes>>> },
        Accepting { accepting: Accepting<H> },
    }
}

impl<F, H> ResponseFuture<F, H> {
    pub(super) fn inner(future: F) -> Self {
        Self {
            state: ResponseState::Inner { future },
        }
    }

    pub(super) fn refusal(response: Box<Response<Bytes>>) -> Self {
        Self {
            state: ResponseState::Refused {
                response: Some(response),
            },
        }
    }

    pub(super) fn accepting(accepting: Accepting<H>) -> Self {
        Self {
            state: ResponseState::Accepting { accepting },
        }
    }
}

impl<F, H, B, E> Future for ResponseFuture<F, H>
where
    F: Future<Output = Result<Response<B>, E>>,
    H: Service<Request<WebSocket>, Response = ()> + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send + 'static,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            ResponseStateProj::Inner { future } => future
                .poll(cx)
                .map_ok(|response| response.map(ResponseBody::inner)),
            ResponseStateProj::Refused { response } => {
                // A future is not polled again after it was ready.
                let response = response.take().expect("polled after completion");
                Poll::Ready(Ok(response.map(ResponseBody::text)))
            }
            ResponseStateProj::Accepting { accepting } => accepting.poll(cx).map(Ok),
        }
    }
}

impl<F, H> fmt::Debug for ResponseFuture<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
