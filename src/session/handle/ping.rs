//! Waiting for the answer to a ping.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    error::Error,
    session::shared::{Shared, pings::Payload},
};

/// Sends a ping, and waits for its pong; leaves nothing behind when it is dropped before.
pub(super) struct PingAndWait<'a> {
    shared: &'a Shared,
    /// What was sent.
    payload: Option<Payload>,
}

impl<'a> PingAndWait<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            payload: None,
        }
    }
}

impl Future for PingAndWait<'_> {
    type Output = Result<Duration, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.shared.poll_ping(cx, &mut this.payload)
    }
}

impl Drop for PingAndWait<'_> {
    fn drop(&mut self) {
        if let Some(payload) = self.payload {
            self.shared.forget_ping(payload);
        }
    }
}
