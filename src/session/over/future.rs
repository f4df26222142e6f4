//! A session that the application polls.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    lock::Lock,
    session::task::{Nothing, Session},
};

/// The future of a session that the caller polls, made by [`SessionBuilder::open`](super::SessionBuilder::open).
///
/// It reads, writes and keeps the deadlines of one connection, and is ready when the connection is over and its transport
/// gone. While it is not polled, nothing of that happens: messages to send wait in the queue, and none is received.
///
/// Dropping it ends the connection at once, without a closing handshake: the transport is dropped, receiving fails with an
/// [`Error`](crate::Error) that [is a disconnect](crate::Error::is_disconnect), sending fails with
/// [`Closed`](crate::Error::Closed), and a report is made. A client still writes what it has sent, as far as the transport
/// takes that at once; what a server has not written is lost. To end a connection well, close or drop the
/// [`WebSocket`](crate::WebSocket) and poll this to its end, which
/// [`Config::close_timeout`](crate::Config::close_timeout) bounds.
///
/// It needs tokio's time, and tokio's I/O if the stream does, but no task of tokio's.
#[must_use = "a connection does nothing unless its session is polled"]
pub struct SessionFuture {
    session: Pin<Box<Session<Nothing>>>,
    relay: Arc<Relay>,
    /// Wakes the relay.
    waker: Waker,
}

impl SessionFuture {
    pub(super) fn new(session: Session<Nothing>) -> Self {
        let relay = Arc::new(Relay(Lock::new(Waker::noop().clone())));
        Self {
            session: Box::pin(session),
            waker: relay.clone().into(),
            relay,
        }
    }
}

impl Future for SessionFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let before = this.relay.lead_to(cx.waker());
        drop(before);
        this.session
            .as_mut()
            .poll(&mut Context::from_waker(&this.waker))
    }
}

impl fmt::Debug for SessionFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionFuture")
    }
}

/// Wakes the task that polls the session.
///
/// The session wakes nobody who waits in its own task, because its handler is polled in every turn. What is polled beside
/// the session is not: so the session is given a waker that is nobody else's.
struct Relay(Lock<Waker>);

impl Relay {
    /// Wakes this task from now on; gives the waker to drop.
    fn lead_to(&self, task: &Waker) -> Option<Waker> {
        let mut waker = self.0.lock();
        (!waker.will_wake(task)).then(|| mem::replace(&mut *waker, task.clone()))
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waker = self.0.lock().clone();
        waker.wake();
    }
}
