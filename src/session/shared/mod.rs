//! What handles and driver share.
//!
//! One lock, held for a few instructions: never over a write, a wake, the drop of a waker or of
//! somebody's bytes. Its poisoning means nothing, since nothing under it can panic half-way.

mod compress;
pub(super) mod inbox;
pub(super) mod locked;
pub(super) mod wait_list;
pub(super) mod waiters;

pub(crate) use wait_list::Ticket;
pub(crate) use waiters::{Asleep, Wakers};

use std::{
    fmt, mem,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use tracing::Span;

use self::{
    inbox::Inbox,
    locked::{End, Inner},
    waiters::{Queued, Waiters, wake},
};
use super::{
    ConnectionId,
    agreed::{Agreed, Compressing},
    registry::connections::Entry,
    report::{EndedBy, Hooks},
};
use crate::{
    Error, Event, Message, Outbound, ProtocolError, TrySendError,
    protocol::{Piece, Role, State},
    sync::{Mutex, MutexGuard},
};

/// One connection, as its handles and its driver see it.
///
/// What an idle connection has no use for is boxed and not there.
pub(crate) struct Shared {
    pub(super) hooks: Arc<Hooks>,
    /// What the handshake has settled, where that is anything.
    pub(super) agreed: Option<Box<Agreed>>,
    inner: Mutex<Inner>,
}

impl Shared {
    pub(super) fn new(role: Role, hooks: Arc<Hooks>, agreed: Agreed) -> Arc<Self> {
        Arc::new(Self {
            hooks,
            agreed: agreed.boxed(),
            inner: Mutex::new(Inner::new(role)),
        })
    }

    /// The connection's place in the registry, where it has one.
    pub(super) fn entry(&self) -> Option<&Entry> {
        self.agreed.as_ref()?.entry.as_deref()
    }

    pub(super) fn id(&self) -> Option<ConnectionId> {
        self.entry().map(Entry::id)
    }

    pub(super) fn has_span(&self) -> bool {
        self.span().is_some()
    }

    pub(super) fn span(&self) -> Option<&Span> {
        self.agreed.as_ref()?.span.as_deref()
    }

    /// Whether the transport is gone.
    pub(super) fn is_over(&self) -> bool {
        self.lock().is_over()
    }

    /// Ends the connection at once, and the handler with it.
    pub(super) fn abort(&self) {
        self.update(|inner| inner.ending().aborted = true);
    }

    /// How messages are compressed, where that is agreed on.
    pub(super) fn compressing(&self) -> Option<&Compressing> {
        self.agreed.as_ref()?.compressing.as_ref()
    }

    pub(super) fn protocol(&self) -> Option<&str> {
        self.agreed.as_ref()?.protocol.as_deref()
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that the driver has to look at, and wakes it if it is idle.
    #[inline]
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        let driver = inner.take_driver();
        drop(inner);
        wake(driver);
        result
    }

    pub(super) fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        let limit = self.hooks.config.max_message_size;
        self.poll_inbox(cx, |inbox| inbox.pop_whole(limit))
    }

    /// Receives the next message, passing over control frames.
    pub(super) fn poll_message(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Error>> {
        let limit = self.hooks.config.max_message_size;
        self.poll_inbox(cx, |inbox| inbox.pop_message(limit))
    }

    /// Receives the next piece of a message that is received as it arrives.
    pub(super) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        self.poll_inbox(cx, |inbox| inbox.pop_piece().map(Ok))
    }

    /// Takes something from the inbox, waiting until it is there or nothing comes any more.
    #[inline]
    fn poll_inbox<T>(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Inbox) -> Option<Result<T, ProtocolError>>,
    ) -> Poll<Result<Option<T>, Error>> {
        let mut inner = self.lock();
        match inner.inbox_mut().and_then(take) {
            Some(Ok(taken)) => {
                let resume = inner.is_taken(|inner| self.has_room(inner));
                let driver = if resume { inner.take_driver() } else { None };
                let spent = inner.take_spent_inbox();
                drop(inner);
                wake(driver);
                drop(spent);
                return Poll::Ready(Ok(Some(taken)));
            }
            Some(Err(error)) => return Poll::Ready(Err(self.fail_to_receive(inner, error))),
            None => {}
        }
        match inner.ending.as_mut().and_then(|ending| ending.end.as_mut()) {
            Some(End::Clean) => return Poll::Ready(Ok(None)),
            Some(End::Failed(error)) => {
                return Poll::Ready(error.take().map_or(Ok(None), Err));
            }
            None => {}
        }
        let resume = inner.is_taken(|inner| self.has_room(inner));
        let driver = if resume { inner.take_driver() } else { None };
        let before = inner.wait_to_receive(cx);
        drop(inner);
        wake(driver);
        drop(before);
        Poll::Pending
    }

    /// What was received is no message; nothing comes behind it.
    #[cold]
    fn fail_to_receive(&self, mut inner: MutexGuard<'_, Inner>, error: ProtocolError) -> Error {
        inner.close(&self.hooks, EndedBy::Violation, &error.close_frame());
        inner.end(None, false);
        let driver = inner.take_driver();
        let discarded = inner.discard_inbox();
        drop(inner);
        wake(driver);
        drop(discarded);
        Error::Protocol(error)
    }

    /// Queues a message unless too much waits; see `Sender::send`.
    #[inline(always)]
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        outbound: &mut Option<Outbound>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Poll::Ready(Err(Error::Closed));
        }
        if inner.outgoing.is_full(&self.hooks.config) {
            let len = outbound.as_ref().map_or(0, Outbound::len);
            return Self::wait_for_room(inner, cx, ticket, len);
        }
        if inner.outgoing.queued() >= CORK && !mem::replace(&mut inner.yielded, true) {
            // The session writes before it polls the handler again.
            drop(inner);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(outbound) = outbound.take() else {
            return Poll::Ready(Ok(()));
        };
        let queued = self.queue_on(inner, outbound).map(Queued::finish);
        Poll::Ready(queued.map_err(|_closed| Error::Closed))
    }

    pub(super) fn try_send(&self, outbound: Outbound) -> Result<(), TrySendError> {
        self.try_queue(outbound).map(Queued::finish)
    }

    /// Queues a message if there is room; what it gives has to be finished.
    pub(super) fn try_queue(&self, outbound: Outbound) -> Result<Queued, TrySendError> {
        let inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Err(TrySendError::Closed(outbound));
        }
        if inner.outgoing.is_full(&self.hooks.config) {
            return Err(TrySendError::Full(outbound));
        }
        self.queue_on(inner, outbound).map_err(TrySendError::Closed)
    }

    /// Queues a message, for which there was room when that was asked.
    pub(super) fn queue(&self, outbound: Outbound) -> Result<(), Error> {
        let inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Err(Error::Closed);
        }
        let queued = self.queue_on(inner, outbound).map(Queued::finish);
        queued.map_err(|_closed| Error::Closed)
    }

    /// Waits until no more is queued than `max_send_queue` allows, to send `len` bytes.
    pub(super) fn poll_room(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        len: usize,
    ) -> Poll<Result<(), Error>> {
        let inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Poll::Ready(Err(Error::Closed));
        }
        if inner.outgoing.is_full(&self.hooks.config) {
            return Self::wait_for_room(inner, cx, ticket, len);
        }
        Poll::Ready(Ok(()))
    }

    fn wait_for_room<T>(
        mut inner: MutexGuard<'_, Inner>,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
        len: usize,
    ) -> Poll<T> {
        let replaced = inner.waiters().sending().room.wait(cx, ticket, len);
        drop(inner);
        drop(replaced);
        Poll::Pending
    }

    /// Waits as [`poll_room`](Self::poll_room), for a sink.
    pub(super) fn poll_sink_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Poll::Ready(Err(Error::Closed));
        }
        if inner.outgoing.is_full(&self.hooks.config) {
            inner.waiters().sinks().room.add(cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until there is room for a piece of the message that is sent piece by piece.
    pub(super) fn poll_stream_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Poll::Ready(Err(Error::Closed));
        }
        let queued = inner.outgoing.queued();
        if queued > self.hooks.config.max_send_queue {
            let waker = cx.waker().clone();
            let replaced = inner.waiters().sending().writer.replace(waker);
            drop(inner);
            drop(replaced);
            return Poll::Pending;
        }
        if queued >= CORK && !mem::replace(&mut inner.yielded, true) {
            drop(inner);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until everything that can leave before a message in progress was given to the
    /// transport.
    pub(super) fn poll_stream_flush(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<(), Error>> {
        let inner = self.lock();
        self.poll_written(cx, inner, 0, Some(ticket))
    }

    /// Waits until everything queued was given to the transport.
    pub(super) fn poll_flush(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<(), Error>> {
        let inner = self.lock();
        let behind = inner.outgoing.queued_behind();
        self.poll_written(cx, inner, behind, Some(ticket))
    }

    /// Waits as [`poll_flush`](Self::poll_flush), for a sink.
    pub(super) fn poll_sink_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let inner = self.lock();
        let behind = inner.outgoing.queued_behind();
        self.poll_written(cx, inner, behind, None)
    }

    /// Waits with the ticket of a future, or as a sink.
    fn poll_written(
        &self,
        cx: &mut Context<'_>,
        mut inner: MutexGuard<'_, Inner>,
        behind: usize,
        ticket: Option<&mut Option<Ticket>>,
    ) -> Poll<Result<(), Error>> {
        if inner.outgoing.queued() + behind == 0 && !inner.writing {
            return Poll::Ready(Ok(()));
        }
        if inner.outgoing.state() == State::Closed {
            return Poll::Ready(Err(Error::Closed));
        }
        let waiters = inner.waiters();
        let replaced = match ticket {
            Some(ticket) => waiters.sending().flush.wait(cx, ticket, 0),
            None => {
                waiters.sinks().flush.add(cx);
                None
            }
        };
        drop(inner);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until the connection is over.
    pub(super) fn poll_closed(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_over() {
            return Poll::Ready(());
        }
        let replaced = inner.waiters().closed.wait(cx, ticket, 0);
        drop(inner);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until the connection is over, for a sink.
    pub(super) fn poll_sink_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_over() {
            return Poll::Ready(());
        }
        inner.waiters().sinks().closed.add(cx);
        Poll::Pending
    }

    /// Waits for the end no more.
    pub(super) fn forget_closed(&self, ticket: Ticket) {
        self.forget(|waiters| waiters.closed.leave(ticket));
    }

    /// Waits no more for everything to be written.
    pub(super) fn forget_flush(&self, ticket: Ticket) {
        self.forget(|waiters| waiters.sending_mut()?.flush.leave(ticket));
    }

    fn forget(&self, leave: impl FnOnce(&mut Waiters) -> Option<Waker>) {
        let mut inner = self.lock();
        let forgotten = inner.waiters.as_mut().and_then(|waiters| leave(waiters));
        drop(inner);
        drop(forgotten);
    }

    /// Waits for room no more, without having used it: where it was woken for that, another one is.
    pub(super) fn forget_room(&self, ticket: Ticket) {
        let mut inner = self.lock();
        let waiters = inner.waiters.as_mut();
        let forgotten = waiters.and_then(|all| all.sending_mut()?.room.leave(ticket));
        let next = match forgotten {
            Some(_) => None,
            None => inner.pass_room_on(&self.hooks),
        };
        drop(inner);
        if let Some(next) = next {
            next.wake();
        }
        drop(forgotten);
    }

    /// Waits for room no more: it was used.
    pub(super) fn leave_room(&self, ticket: Ticket) {
        self.forget(|waiters| waiters.sending_mut()?.room.leave(ticket));
    }

    /// Waits no more to begin a message that is sent piece by piece: it has begun.
    pub(super) fn leave_begin(&self, ticket: Ticket) {
        self.forget(|waiters| waiters.sending_mut()?.begin.leave(ticket));
    }

    /// Does not begin a message any more that is sent piece by piece: where it was woken for that,
    /// another one is.
    pub(super) fn forget_begin(&self, ticket: Ticket) {
        let mut inner = self.lock();
        let waiters = inner.waiters.as_mut();
        let forgotten = waiters.and_then(|all| all.sending_mut()?.begin.leave(ticket));
        let next = match forgotten {
            Some(_) => None,
            None => inner.take_next_writer(),
        };
        drop(inner);
        if let Some(next) = next {
            next.wake();
        }
        drop(forgotten);
    }

    /// Whether another event may be decoded: always one, then while the limit is not reached.
    #[inline]
    pub(super) fn has_room(&self, inner: &Inner) -> bool {
        self.has_room_beside(inner.inbox_size())
    }

    /// Whether another event may be decoded where so many bytes wait.
    #[inline]
    pub(super) fn has_room_beside(&self, waiting: usize) -> bool {
        waiting < self.hooks.config.max_read_ahead.max(1)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("WebSocket")
            .field("state", &inner.outgoing.state())
            .field("protocol", &self.protocol())
            .field("queued", &inner.outgoing.queued())
            .finish_non_exhaustive()
    }
}

/// From here on a sender lets the session write first.
pub(super) const CORK: usize = 64 << 10;
