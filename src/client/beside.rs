//! A connection that is driven by whoever waits for its answer.

use std::{
    future::{Future, poll_fn},
    pin::pin,
};

/// Runs a connection in the task of the work it is for, and only as long as that takes.
pub(super) async fn beside<T>(connection: impl Future, work: impl Future<Output = T>) -> T {
    let (mut connection, mut work) = (pin!(connection), pin!(work));
    let mut connected = true;
    poll_fn(|cx| {
        // `work` waits for the answer, and so gets the connection's error.
        connected = connected && connection.as_mut().poll(cx).is_pending();
        work.as_mut().poll(cx)
    })
    .await
}
