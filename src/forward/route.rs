//! The route service of a layer whose hook has all connections passed on.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use http::Request;
use tower::{BoxError, Service};

use crate::session::WebSocket;

/// The route service of a layer whose connections are all passed on: see [`Forward::layer`](super::Forward::layer).
///
/// `Forwarded::default()` makes one, for a layer with a [hook](super::Forward::accept) of your own. It is always ready.
/// It closes a connection that is not passed on, but comes here, with code 1011.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Forwarded;

impl Service<Request<WebSocket>> for Forwarded {
    type Response = ();
    type Error = BoxError;
    type Future = Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<WebSocket>) -> Self::Future {
        ready(Err(
            "no hook has passed the connection on: see `Forward::accept`".into(),
        ))
    }
}
