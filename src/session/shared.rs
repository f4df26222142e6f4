//! What handles and driver share.
//!
//! One lock, held for a few instructions: never over a write, a wake, the drop of a waker or of
//! somebody's bytes. Its poisoning means nothing, since nothing under it can panic half-way.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{
    report::{EndedBy, Hooks},
    scratch,
};
use crate::{
    CloseFrame, Error, Event, Message, TrySendError,
    protocol::{Outgoing, Role, State},
};

/// One connection, as its handles and its driver see it.
pub(super) struct Shared {
    pub(super) hooks: Arc<Hooks>,
    pub(super) protocol: Option<Box<str>>,
    inner: Mutex<Inner>,
}

/// What the lock protects.
pub(super) struct Inner {
    pub(super) outgoing: Outgoing,
    /// Decoded and not yet received by the application.
    pub(super) inbox: VecDeque<Event>,
    /// The size of `inbox`, in bytes with an allowance for each event.
    pub(super) inbox_size: usize,
    /// Set once nothing more is delivered.
    pub(super) end: Option<End>,
    /// Who sent the first Close frame, and what it said.
    pub(super) first_close: Option<Box<(EndedBy, Option<CloseFrame>)>>,
    /// The peer's Close frame, where it had a code.
    pub(super) peer_close: Option<Box<CloseFrame>>,
    /// Wakes the session.
    driver: Option<Waker>,
    /// The driver has seen, under this lock, that there is nothing to do.
    idle: bool,
    /// The driver waits for room in `inbox`.
    paused: bool,
    /// The driver has taken the queue to write it.
    pub(super) writing: bool,
    /// A `WebSocket` or a `Receiver` is alive.
    pub(super) receiver_alive: bool,
    /// A whole `WebSocket` was dropped.
    pub(super) abandoned: bool,
    /// The application asked for control frames.
    pub(super) observed: bool,
    receiver: Option<Waker>,
    senders: Vec<Waker>,
}

/// How receiving ends.
#[derive(Debug)]
pub(super) enum End {
    Clean,
    /// The error is taken by the first who receives it.
    Failed(Option<Box<Error>>),
}

impl Shared {
    pub(super) fn new(role: Role, hooks: Arc<Hooks>, protocol: Option<Box<str>>) -> Arc<Self> {
        let outgoing = Outgoing::new(role, &hooks.config);
        Arc::new(Self {
            hooks,
            protocol,
            inner: Mutex::new(Inner {
                outgoing,
                inbox: VecDeque::new(),
                inbox_size: 0,
                end: None,
                first_close: None,
                peer_close: None,
                driver: None,
                idle: false,
                paused: false,
                writing: false,
                receiver_alive: true,
                abandoned: false,
                observed: false,
                receiver: None,
                senders: Vec::new(),
            }),
        })
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
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    pub(super) fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        let mut inner = self.lock();
        if let Some(event) = inner.inbox.pop_front() {
            inner.inbox_size -= size(&event);
            let driver = if inner.paused && self.has_room(&inner) {
                inner.take_driver()
            } else {
                None
            };
            let spent = inner.take_spent_inbox();
            drop(inner);
            drop(spent);
            if let Some(driver) = driver {
                driver.wake();
            }
            return Poll::Ready(Ok(Some(event)));
        }
        match &mut inner.end {
            Some(End::Clean) => return Poll::Ready(Ok(None)),
            Some(End::Failed(error)) => {
                let error = error.take();
                return Poll::Ready(error.map_or(Ok(None), |error| Err(*error)));
            }
            None => {}
        }
        if !inner
            .receiver
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            let before = inner.receiver.replace(cx.waker().clone());
            drop(inner);
            drop(before);
        }
        Poll::Pending
    }

    /// Queues the message in `slot` unless too much waits; see `Sender::send`.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        slot: &mut Option<Message>,
        yielded: &mut bool,
    ) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Poll::Ready(Err(Error::Closed));
        }
        let queued = inner.outgoing.queued();
        if queued > self.hooks.config.max_send_queue {
            inner.wait_for_room(cx);
            return Poll::Pending;
        }
        if queued >= CORK && !mem::replace(yielded, true) {
            // The session writes before it polls the handler again.
            drop(inner);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let driver = slot.take().and_then(|message| inner.queue(message));
        drop(inner);
        if let Some(driver) = driver {
            driver.wake();
        }
        Poll::Ready(Ok(()))
    }

    pub(super) fn try_send(&self, message: Message) -> Result<(), TrySendError> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Err(TrySendError::Closed(message));
        }
        if inner.outgoing.queued() > self.hooks.config.max_send_queue {
            return Err(TrySendError::Full(message));
        }
        let driver = inner.queue(message);
        drop(inner);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }

    /// Queues a message, for which there was room when that was asked.
    pub(super) fn queue(&self, message: Message) -> Result<(), Error> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Err(Error::Closed);
        }
        let driver = inner.queue(message);
        drop(inner);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }

    /// Waits until no more is queued than `max_send_queue` allows.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Poll::Ready(Err(Error::Closed));
        }
        if inner.outgoing.queued() > self.hooks.config.max_send_queue {
            inner.wait_for_room(cx);
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until everything queued was given to the transport.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.outgoing.queued() == 0 && !inner.writing {
            return Poll::Ready(Ok(()));
        }
        if inner.outgoing.state() == State::Closed {
            return Poll::Ready(Err(Error::Closed));
        }
        inner.wait_for_room(cx);
        Poll::Pending
    }

    /// Waits until the connection is over.
    pub(super) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.outgoing.state() == State::Closed {
            return Poll::Ready(());
        }
        inner.wait_for_room(cx);
        Poll::Pending
    }

    /// Whether another event may be decoded: always one, then while the limit is not reached.
    #[inline]
    pub(super) fn has_room(&self, inner: &Inner) -> bool {
        inner.inbox.is_empty() || inner.inbox_size < self.hooks.config.max_read_ahead
    }
}

impl Inner {
    /// Queues a message on an open connection, and gives the driver to wake.
    #[inline]
    fn queue(&mut self, message: Message) -> Option<Waker> {
        if self.outgoing.queue_mut().needs_buffer() {
            self.outgoing
                .queue_mut()
                .adopt_buffer(scratch::take_send_buffer());
        }
        // The caller has seen, under the same lock, that the connection is open.
        let _open = self.outgoing.message(message);
        self.take_driver()
    }

    /// Gives the driver to wake, if it is idle.
    #[inline]
    fn take_driver(&mut self) -> Option<Waker> {
        if mem::replace(&mut self.idle, false) {
            self.driver.take()
        } else {
            None
        }
    }

    /// The driver's turn begins: nobody needs to wake it.
    #[inline]
    pub(super) fn begin_turn(&mut self) {
        self.idle = false;
    }

    /// The driver's turn ends with nothing left to do; gives a waker to drop.
    #[inline]
    pub(super) fn end_turn(&mut self, turn: &Waker, paused: bool) -> Option<Waker> {
        self.idle = true;
        self.paused = paused;
        if self
            .driver
            .as_ref()
            .is_some_and(|waker| waker.will_wake(turn))
        {
            return None;
        }
        self.driver.replace(turn.clone())
    }

    /// Gives the memory of an inbox that was emptied while the driver is idle.
    #[inline]
    pub(super) fn take_spent_inbox(&mut self) -> Option<VecDeque<Event>> {
        (self.idle && self.inbox.is_empty()).then(|| mem::take(&mut self.inbox))
    }

    /// Sends a Close frame, if it is the first.
    pub(super) fn close(&mut self, by: EndedBy, frame: Option<&CloseFrame>) -> bool {
        let first = self.outgoing.close(frame).is_ok();
        if first {
            self.first_close = Some(Box::new((by, frame.cloned())));
        }
        first
    }

    /// Takes the peer's Close frame, and answers it if it is the first.
    pub(super) fn receive_close(&mut self, frame: Option<CloseFrame>, auto_pong: bool) {
        if !self.outgoing.close_sent() {
            self.first_close = Some(Box::new((EndedBy::Peer, frame.clone())));
        }
        self.peer_close = frame.clone().map(Box::new);
        self.outgoing.receive(&Event::Close(frame), auto_pong);
    }

    /// Shows the peer's Close to those who asked for control frames.
    pub(super) fn observe_close(&mut self, turn: &Waker) -> Option<Waker> {
        if !self.observed || !self.receiver_alive {
            return None;
        }
        self.deliver(
            &mut [Event::Close(self.peer_close.as_deref().cloned())].into(),
            turn,
        )
    }

    /// Whether the connection is open, and nobody is left to receive.
    pub(super) fn is_abandoned(&self, handler_finished: bool) -> bool {
        let nobody = self.abandoned || (handler_finished && !self.receiver_alive);
        nobody && self.outgoing.state() == State::Open
    }

    fn wait_for_room(&mut self, cx: &Context<'_>) {
        if !self.senders.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.senders.push(cx.waker().clone());
        }
    }

    /// Adds what was decoded, and gives the receiver to wake, unless it is polled anyway.
    pub(super) fn deliver(&mut self, events: &mut VecDeque<Event>, turn: &Waker) -> Option<Waker> {
        self.inbox_size += events.iter().map(size).sum::<usize>();
        if self.inbox.is_empty() {
            mem::swap(&mut self.inbox, events);
        } else {
            self.inbox.append(events);
        }
        self.take_receiver(turn)
    }

    pub(super) fn take_receiver(&mut self, turn: &Waker) -> Option<Waker> {
        self.receiver.take_if(|waker| !waker.will_wake(turn))
    }

    pub(super) fn take_any_receiver(&mut self) -> Option<Waker> {
        self.receiver.take()
    }

    /// Gives those who wait to send, or for the end.
    pub(super) fn take_senders(&mut self) -> Vec<Waker> {
        mem::take(&mut self.senders)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("WebSocket")
            .field("state", &inner.outgoing.state())
            .field("protocol", &self.protocol)
            .field("queued", &inner.outgoing.queued())
            .finish_non_exhaustive()
    }
}

/// What an event counts towards `max_read_ahead`.
#[inline]
pub(super) fn size(event: &Event) -> usize {
    let payload = match event {
        Event::Message(message) => message.len(),
        Event::Ping(payload) | Event::Pong(payload) => payload.len(),
        Event::Close(_) => 0,
    };
    payload + EVENT_OVERHEAD
}

/// The memory an event takes beside its payload, about.
const EVENT_OVERHEAD: usize = 64;

/// From here on a sender lets the session write first.
const CORK: usize = 64 << 10;
