//! How both sides learn of the end.

use std::task::{Context, Poll};

use super::{
    Shared,
    ending::{End, Ending},
    locked::{Keeper, Locked},
    wait_list::Ticket,
    waiters::Wakers,
};
use crate::{
    error::Error,
    protocol::{CloseCode, CloseFrame, Unsent},
    session::{report::EndedBy, setup::Setup},
};

impl Shared {
    /// Ends the connection at once, and the handler with it.
    pub(crate) fn abort(&self) {
        self.update(|locked| locked.ending().aborted = true);
    }

    /// Starts the closing handshake, unless it has begun; what was not received is discarded.
    /// Reports whether it is this that has begun it.
    ///
    /// `None` has neither code nor reason.
    pub(crate) fn close(&self, frame: Option<&CloseFrame>) -> bool {
        let discarded = self.update(|locked| {
            let first = locked.close_with(&self.setup, EndedBy::Local, frame);
            first.then(|| locked.discard_inbox())
        });
        discarded.is_some()
    }

    /// Returns what the connection was closed with first; `None` where no Close was sent or received.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "gateways do"))]
    pub(crate) fn first_close(&self) -> Option<Option<CloseFrame>> {
        let locked = self.look();
        locked.first_close().map(|(_, frame)| frame.clone())
    }

    /// Returns the peer's Close frame, if it came with a code.
    pub(crate) fn received_close(&self) -> Option<CloseFrame> {
        self.look().peer_close()
    }

    /// Returns who has closed first, and with what.
    pub(crate) fn first_closed(&self) -> Option<(EndedBy, Option<CloseFrame>)> {
        self.look().first_close().cloned()
    }

    /// Reports whether the peer's Close frame has come.
    pub(crate) fn is_close_received(&self) -> bool {
        self.look().close_received()
    }

    /// Reports whether the transport is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.look().is_over()
    }

    /// Waits until the connection is over.
    pub(crate) fn poll_closed(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<()> {
        let mut locked = self.lock();
        if locked.is_over() {
            return Poll::Ready(());
        }
        let replaced = locked.waiters().closed.wait(cx, ticket, 0);
        drop(locked);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until the connection is over, for a sink.
    pub(crate) fn poll_sink_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut locked = self.lock();
        if locked.is_over() {
            return Poll::Ready(());
        }
        locked.waiters().sinks().closed.add(cx);
        Poll::Pending
    }

    /// Waits for the end no more.
    pub(crate) fn forget_closed(&self, ticket: Ticket) {
        self.forget(|waiters| waiters.closed.leave(ticket));
    }
}

impl Locked {
    /// Sends a Close frame, if it is the first; reports whether it was.
    pub(crate) fn close(&mut self, setup: &Setup, by: EndedBy, frame: &CloseFrame) -> bool {
        self.close_with(setup, by, Some(frame))
    }

    /// The same, of which `None` has neither code nor reason.
    fn close_with(&mut self, setup: &Setup, by: EndedBy, frame: Option<&CloseFrame>) -> bool {
        let first = self.outgoing.close(&setup.encoder(), frame).is_ok();
        if first {
            self.ending().first_close = Some((by, frame.cloned()));
        }
        first
    }

    /// Takes the peer's Close frame, and answers it if it is the first.
    pub(crate) fn receive_close(&mut self, setup: &Setup, frame: Option<CloseFrame>) {
        if !self.outgoing.close_sent() {
            self.ending().first_close = Some((EndedBy::Peer, frame.clone()));
        }
        self.outgoing
            .receive_close(&setup.encoder(), frame.as_ref());
        self.ending().peer_close = frame;
    }

    /// Ends receiving, and sending too unless the closing handshake has begun: then there is nothing
    /// to answer.
    pub(crate) fn finish(&mut self, error: Option<Error>) {
        let clean = error.is_none();
        self.end(error, clean);
        if !self.close_sent() {
            self.outgoing.end();
        }
    }

    /// Says that nothing more is delivered; what was said first holds.
    pub(crate) fn end(&mut self, error: Option<Error>, clean: bool) {
        let end = if clean {
            End::Clean
        } else {
            End::Failed(error)
        };
        self.ending().end.get_or_insert(end);
    }

    /// Says that what came last was not delivered, whatever was said of the end before.
    pub(crate) fn fail_end(&mut self, error: Error) {
        self.ending().end = Some(End::Failed(Some(error)));
    }

    pub(crate) fn first_close(&self) -> Option<&(EndedBy, Option<CloseFrame>)> {
        self.known_ending()?.first_close.as_ref()
    }

    pub(super) fn peer_close(&self) -> Option<CloseFrame> {
        self.known_ending()?.peer_close.clone()
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.known_ending().is_some_and(|ending| ending.aborted)
    }

    pub(super) fn is_over(&self) -> bool {
        self.known_ending().is_some_and(|ending| ending.over)
    }

    /// Returns what is known of the end, if it has begun.
    #[inline]
    pub(super) fn known_ending(&self) -> Option<&Ending> {
        self.rare_ref()?.ending.as_ref()
    }

    /// Returns how receiving ends, if that is known.
    pub(super) fn end_mut(&mut self) -> Option<&mut End> {
        let rare = self.waiters.as_mut()?.rare.as_mut()?;
        rare.ending.as_mut()?.end.as_mut()
    }

    pub(super) fn ending(&mut self) -> &mut Ending {
        self.rare().ending.get_or_insert_default()
    }

    /// The code to close with, where the connection is open and nobody is left to receive.
    pub(crate) fn abandoned(&self, handler_finished: bool) -> Option<CloseCode> {
        let nobody = match self.keeper {
            Keeper::Receiver | Keeper::Writer => false,
            Keeper::Handler => handler_finished,
            Keeper::Nobody => true,
        };
        if !nobody || !self.is_open() {
            return None;
        }
        let panicked = self.known_ending().is_some_and(|ending| ending.panicked);
        Some(if panicked {
            CloseCode::INTERNAL_ERROR
        } else {
            CloseCode::NORMAL
        })
    }

    /// Ends everything: the transport is gone. Gives what was queued, and all who wait, the session's
    /// own task among them.
    pub(crate) fn end_all(&mut self, error: Option<Error>) -> (Option<Box<Unsent>>, Wakers) {
        self.ending().over = true;
        self.outgoing.end();
        let mut wakers = self.take_waiting(true, true);
        wakers.extend_from(self.take_askers());
        if let Some(waiters) = &mut self.waiters {
            wakers.drain(&mut waiters.closed);
            if let Some(sinks) = waiters.sending_mut().and_then(|all| all.sinks.as_mut()) {
                wakers.extend(sinks.closed.take());
            }
            wakers.extend(waiters.receiver.take());
            waiters.forget_all();
        }
        let queue = self.outgoing.clear();
        // A flush must not call it written.
        self.writing |= queue.as_ref().is_some_and(|queue| !queue.is_empty());
        let clean = self.close_received();
        self.end(error, clean);
        (queue, wakers)
    }
}
