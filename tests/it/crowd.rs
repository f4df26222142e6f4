//! What the tests of many connections share.

use std::{
    future::Future,
    sync::{Arc, Weak},
};

use http::Request;
use tokio::{runtime::Handle, task::yield_now};
use tower_websocket::{
    Connections, WebSocket, WebSocketLayer,
    service::{HandlerOutput, UpgradeRequired, WebSocketService},
    testing::{self, Empty},
};

use crate::{
    session::support::Shape,
    support::{Boxed, handler, within},
};

/// An endpoint whose connections are registered.
pub(crate) fn registered<F, Fut>(
    connections: &Connections,
    function: F,
) -> WebSocketService<UpgradeRequired, Boxed>
where
    F: FnMut(WebSocket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: HandlerOutput,
{
    let layer = WebSocketLayer::new(handler(function));
    layer.connections(connections).endpoint()
}

/// Waits for what other tasks bring about.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            yield_now().await;
        }
    })
    .await;
}

/// How many tasks there are beside the test's.
pub(crate) fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A handshake in memory.
pub(crate) fn ask(shape: Shape) -> Request<Empty> {
    match shape {
        Shape::H1 => testing::request("/").into_request(),
        Shape::H2 => testing::request("/").http2().into_request(),
    }
}

/// A value of which all copies are to be dropped in the end.
#[derive(Debug)]
pub(crate) struct Kept(Weak<()>);

impl Kept {
    pub(crate) fn new() -> (Arc<()>, Self) {
        let value = Arc::new(());
        let kept = Self(Arc::downgrade(&value));
        (value, kept)
    }

    /// How many copies there are.
    pub(crate) fn count(&self) -> usize {
        self.0.strong_count()
    }
}

/// Calls a function when it is dropped.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
