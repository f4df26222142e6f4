//! How sending waits: for room in the queue, for a message in progress to end, for all to be written.

use std::{
    mem,
    task::{Context, Poll, Waker},
};

use super::{
    Shared,
    locked::{Lent, Locked},
    wait_list::Ticket,
    waiters::{Waiters, Wakers, Woken},
};
use crate::{
    error::Error,
    lock::LockGuard,
    protocol::State,
    session::{
        loan::{self, CORK},
        setup::Setup,
    },
    sync,
};

impl Shared {
    /// Waits until no more is queued than `max_send_queue` allows, to send `len` bytes.
    pub(crate) fn poll_room(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        len: usize,
    ) -> Poll<Result<(), Error>> {
        let locked = self.lock();
        if !locked.is_open() {
            return Poll::Ready(Err(Error::Closed));
        }
        if locked.is_full(&self.setup.config) {
            return Self::wait_for_room(locked, cx, ticket, len);
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn wait_for_room<T>(
        mut locked: LockGuard<'_, Locked>,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        len: usize,
    ) -> Poll<T> {
        let replaced = locked.waiters().sending().room.wait(cx, ticket, len);
        drop(locked);
        drop(replaced);
        Poll::Pending
    }

    /// Waits as [`poll_room`](Self::poll_room), for a sink.
    pub(crate) fn poll_sink_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_room_of_sink(cx, false)
    }

    /// Waits as [`poll_sink_room`](Self::poll_sink_room), and lets the session write first where much is queued, as
    /// `Sender::send` does.
    pub(crate) fn poll_bytes_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_room_of_sink(cx, true)
    }

    #[inline]
    fn poll_room_of_sink(&self, cx: &mut Context<'_>, corks: bool) -> Poll<Result<(), Error>> {
        if !self.is_touched() && loan::has_room_to_send(self.address()) {
            return Poll::Ready(Ok(()));
        }
        let mut locked = self.lock();
        if !locked.is_open() {
            return Poll::Ready(Err(Error::Closed));
        }
        if locked.is_full(&self.setup.config) {
            locked.waiters().sinks().room.add(cx);
            return Poll::Pending;
        }
        if corks && locked.queued() >= CORK && !mem::replace(&mut locked.yielded, true) {
            drop(locked);
            sync::yield_task(cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until everything queued was given to the transport.
    pub(crate) fn poll_flush(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<(), Error>> {
        let locked = self.lock();
        let behind = locked.outgoing.queued_behind();
        self.poll_written(cx, locked, behind, Some(ticket))
    }

    /// Waits as [`poll_flush`](Self::poll_flush), for a sink.
    pub(crate) fn poll_sink_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let locked = self.lock();
        let behind = locked.outgoing.queued_behind();
        self.poll_written(cx, locked, behind, None)
    }

    /// Waits with the ticket of a future, or as a sink.
    pub(super) fn poll_written(
        &self,
        cx: &mut Context<'_>,
        mut locked: LockGuard<'_, Locked>,
        behind: usize,
        ticket: Option<&mut Option<Ticket>>,
    ) -> Poll<Result<(), Error>> {
        let all_left = !locked.writing && locked.lent != Lent::Queue;
        if locked.queued() + behind == 0 && all_left {
            return Poll::Ready(Ok(()));
        }
        if locked.state() == State::Closed {
            return Poll::Ready(Err(Error::Closed));
        }
        let waiters = locked.waiters();
        let replaced = match ticket {
            Some(ticket) => waiters.sending().flush.wait(cx, ticket, 0),
            None => {
                waiters.sinks().flush.add(cx);
                None
            }
        };
        drop(locked);
        drop(replaced);
        Poll::Pending
    }

    /// Waits no more for everything to be written.
    pub(crate) fn forget_flush(&self, ticket: Ticket) {
        self.forget(|waiters| waiters.sending_mut()?.flush.leave(ticket));
    }

    /// Counts a message that found no room, and does not wait for some.
    #[cold]
    pub(crate) fn count_full(&self) {
        self.lock().rare().queue_full += 1;
    }

    pub(super) fn forget(&self, leave: impl FnOnce(&mut Waiters) -> Option<Waker>) {
        let mut locked = self.lock();
        let forgotten = locked.waiters.as_mut().and_then(|waiters| leave(waiters));
        drop(locked);
        drop(forgotten);
    }

    /// Waits for room no more, without having used it: where it was woken for that, another one is.
    pub(crate) fn forget_room(&self, ticket: Ticket) {
        let mut locked = self.lock();
        let waiters = locked.waiters.as_mut();
        let forgotten = waiters.and_then(|all| all.sending_mut()?.room.leave(ticket));
        let next = match forgotten {
            Some(_) => None,
            None => locked.pass_room_on(&self.setup),
        };
        drop(locked);
        if let Some(next) = next {
            next.wake();
        }
        drop(forgotten);
    }

    /// Waits for room no more: it was used.
    pub(crate) fn leave_room(&self, ticket: Ticket) {
        self.forget(|waiters| waiters.sending_mut()?.room.leave(ticket));
    }
}

impl Locked {
    /// Returns how many messages found no room, and did not wait for some.
    #[inline]
    pub(crate) fn queue_full(&self) -> u64 {
        self.rare_ref().map_or(0, |rare| rare.queue_full)
    }

    /// Lets no sender wait only so that the session writes first.
    pub(crate) fn let_no_sender_yield(&mut self) {
        self.yielded = true;
    }

    /// Gives all who wait to send, and those who wait for everything to be written.
    pub(crate) fn take_waiting(&mut self, room: bool, flush: bool) -> Wakers {
        let mut wakers = Wakers::default();
        let Some(sending) = self.waiters.as_mut().and_then(|all| all.sending_mut()) else {
            return wakers;
        };
        if room {
            wakers.drain(&mut sending.room);
            wakers.drain(&mut sending.begin);
            wakers.extend(sending.writer.take());
        }
        if flush {
            wakers.drain(&mut sending.flush);
        }
        if let Some(sinks) = &mut sending.sinks {
            if room {
                wakers.extend(sinks.room.take());
            }
            if flush {
                wakers.extend(sinks.flush.take());
            }
        }
        wakers
    }

    /// Gives as many of those who wait to send as there is room for, and those who wait for
    /// everything to be written.
    ///
    /// Others are given when something has left again, or by one of these that does not send.
    #[inline]
    pub(super) fn take_able(&mut self, setup: &Setup, flush: bool) -> Option<Wakers> {
        if !self.waiters.as_ref()?.have_senders() {
            return None;
        }
        Some(self.take_some(setup, flush))
    }

    fn take_some(&mut self, setup: &Setup, flush: bool) -> Wakers {
        if !self.is_open() {
            // None of them will send.
            return self.take_waiting(true, flush);
        }
        let mut wakers = self.take_waiting(false, flush);
        let full = self.outgoing.is_full(&setup.config);
        let queued = self.outgoing.queued();
        let Some(sending) = self.waiters.as_mut().and_then(|all| all.sending_mut()) else {
            return wakers;
        };
        if queued <= setup.config.max_send_queue {
            wakers.extend(sending.writer.take());
        }
        if full {
            return wakers;
        }
        if let Some(sinks) = &mut sending.sinks {
            wakers.extend(sinks.room.take());
        }
        let mut bytes = queued + self.outgoing.queued_behind();
        let mut messages = self.outgoing.queued_messages();
        let most = setup.config.max_send_messages.unwrap_or(usize::MAX);
        while bytes <= setup.config.max_send_queue
            && messages < most
            && let Some((waker, len)) = sending.room.pop()
        {
            bytes = bytes.saturating_add(len).saturating_add(FRAME);
            messages += 1;
            wakers.push(waker);
        }
        self.waiters().forget_sending();
        wakers
    }

    /// Gives the next one that waits for room, where there is some: one that was woken for it does
    /// not take it.
    pub(super) fn pass_room_on(&mut self, setup: &Setup) -> Option<Woken> {
        // Those of a connection that is closing are woken all at once, when the Close has left.
        if !self.is_open() || self.outgoing.is_full(&setup.config) {
            return None;
        }
        let (waker, _) = self.waiters.as_mut()?.sending_mut()?.room.pop()?;
        Some(Woken(waker))
    }
}

/// What a message takes in the queue beside its payload, at least.
const FRAME: usize = 2;
