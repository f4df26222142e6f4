//! What the handles have in common: the futures, and the calls that need none.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{report::EndedBy, shared::Shared};
use crate::{CloseFrame, Error, Outbound, protocol::State};

/// The future of [`WebSocket::send`](crate::WebSocket::send).
#[must_use = "futures do nothing unless polled"]
pub struct Sending<'a> {
    shared: &'a Shared,
    /// Taken once it is queued.
    outbound: Option<Outbound>,
}

impl<'a> Sending<'a> {
    pub(super) fn new(shared: &'a Shared, outbound: Outbound) -> Self {
        Self {
            shared,
            outbound: Some(outbound),
        }
    }
}

impl Future for Sending<'_> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.shared.poll_send(cx, &mut this.outbound)
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("outbound", &self.outbound)
            .finish_non_exhaustive()
    }
}

pub(super) fn flush(shared: &Shared) -> impl Future<Output = Result<(), Error>> + Send {
    poll_fn(|cx| shared.poll_flush(cx))
}

/// Waits for the end, and leaves nothing behind when it is dropped before.
pub(super) struct Closed<'a> {
    shared: &'a Shared,
    number: Option<u64>,
}

impl<'a> Closed<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            number: None,
        }
    }
}

impl Future for Closed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared.poll_closed(cx, &mut this.number)
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.forget_closed(number);
        }
    }
}

pub(super) fn ping(shared: &Shared, payload: &Bytes) -> Result<(), Error> {
    shared.update(|inner| inner.ping(&shared.hooks, payload))
}

pub(super) fn pong(shared: &Shared, payload: &Bytes) -> Result<(), Error> {
    shared.update(|inner| inner.pong(&shared.hooks, payload))
}

pub(super) fn close(shared: &Shared, frame: &CloseFrame) {
    let discarded = shared.update(|inner| {
        let first = inner.close(&shared.hooks, EndedBy::Local, frame);
        first.then(|| inner.discard_inbox())
    });
    drop(discarded);
}

pub(super) fn close_frame(shared: &Shared) -> Option<CloseFrame> {
    shared.lock().peer_close()
}

pub(super) fn state(shared: &Shared) -> State {
    shared.lock().outgoing.state()
}
