//! A message that is sent piece by piece, and those that wait for its end.

use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{
    Shared,
    locked::Locked,
    wait_list::Ticket,
    waiters::{Wakers, Woken},
};
use crate::{
    error::Error,
    protocol::{self, CloseCode, FrameStart},
    session::{agreed::Compressing, loan::CORK, report::EndedBy, setup::Setup},
    sync,
};

impl Shared {
    /// Begins a message, waiting while another one is being sent; gives what it is compressed with.
    pub(crate) fn poll_begin_stream(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<Option<protocol::Context>, Error>> {
        // Locked before the connection, as by all who compress.
        let mut guard = self.compressing().and_then(Compressing::lock);
        let mut locked = self.lock();
        if locked.outgoing.is_streaming() && locked.is_open() {
            let replaced = locked.waiters().sending().begin.wait(cx, ticket, 0);
            drop(locked);
            drop(guard);
            drop(replaced);
            return Poll::Pending;
        }
        if locked.outgoing.begin_stream().is_err() {
            return Poll::Ready(Err(Error::Closed));
        }
        drop(locked);
        Poll::Ready(Ok(guard.as_mut().and_then(|context| context.take())))
    }

    /// Queues a piece, of which `len` bytes of payload became `payload`.
    pub(crate) fn queue_piece(
        &self,
        fin: bool,
        first: FrameStart,
        len: usize,
        payload: Bytes,
    ) -> Result<(), Error> {
        let encoder = self.setup.encoder();
        let queued =
            self.update(|locked| locked.outgoing.piece(&encoder, fin, first, len, payload));
        let copied = queued.map_err(|_closed| Error::Closed)?;
        drop(copied);
        Ok(())
    }

    /// Ends the message: those behind it follow.
    pub(crate) fn end_stream(&self) {
        self.update(|locked| locked.end_stream(&self.setup)).wake();
    }

    /// Closes a connection whose peer has some of a message that will not be finished.
    pub(crate) fn fail_stream(&self) {
        let frame = (CloseCode::INTERNAL_ERROR, "message abandoned").into();
        self.update(|locked| locked.close(&self.setup, EndedBy::Local, &frame));
    }

    /// Waits until there is room for a piece of the message that is sent piece by piece.
    pub(crate) fn poll_stream_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut locked = self.lock();
        if !locked.is_open() {
            return Poll::Ready(Err(Error::Closed));
        }
        let queued = locked.queued();
        if queued > self.setup.config.max_send_queue || locked.taken_full {
            let waker = cx.waker().clone();
            let replaced = locked.waiters().sending().writer.replace(waker);
            drop(locked);
            drop(replaced);
            return Poll::Pending;
        }
        if queued >= CORK && !mem::replace(&mut locked.yielded, true) {
            drop(locked);
            sync::yield_task(cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until everything that can leave before a message in progress was given to the
    /// transport.
    pub(crate) fn poll_stream_flush(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<(), Error>> {
        let locked = self.lock();
        self.poll_written(cx, locked, 0, Some(ticket))
    }

    /// Waits no more to begin a message that is sent piece by piece: it has begun.
    pub(crate) fn leave_begin(&self, ticket: Ticket) {
        self.forget(|waiters| waiters.sending_mut()?.begin.leave(ticket));
    }

    /// Does not begin a message any more that is sent piece by piece: where it was woken for that,
    /// another one is.
    pub(crate) fn forget_begin(&self, ticket: Ticket) {
        let mut locked = self.lock();
        let waiters = locked.waiters.as_mut();
        let forgotten = waiters.and_then(|all| all.sending_mut()?.begin.leave(ticket));
        let next = match forgotten {
            Some(_) => None,
            None => locked.take_next_writer(),
        };
        drop(locked);
        if let Some(next) = next {
            next.wake();
        }
        drop(forgotten);
    }
}

impl Locked {
    /// The message that was sent piece by piece has ended. Gives those who waited for that.
    pub(super) fn end_stream(&mut self, setup: &Setup) -> Wakers {
        self.outgoing.end_stream();
        let mut wakers = self.take_able(setup, false).unwrap_or_default();
        wakers.extend(self.take_next_writer().map(Woken::into_waker));
        wakers
    }

    /// Gives the next one to send a message piece by piece, where none is being sent.
    pub(super) fn take_next_writer(&mut self) -> Option<Woken> {
        if self.outgoing.is_streaming() {
            return None;
        }
        let (waker, _) = self.waiters.as_mut()?.sending_mut()?.begin.pop()?;
        Some(Woken(waker))
    }
}
