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
use bytes::Bytes;

use crate::{
    CloseCode, CloseFrame, Error, Event, Message, TrySendError,
    protocol::{NotOpen, Outgoing, Queue, Role, State},
};

/// One connection, as its handles and its driver see it.
///
/// What an idle connection has no use for is boxed and not there.
pub(super) struct Shared {
    pub(super) hooks: Arc<Hooks>,
    /// The subprotocol agreed on. Boxed twice, since most connections have none.
    protocol: Option<Box<Box<str>>>,
    inner: Mutex<Inner>,
}

/// What the lock protects.
pub(super) struct Inner {
    pub(super) outgoing: Outgoing,
    /// Decoded and not yet received by the application.
    inbox: Option<Box<Inbox>>,
    /// Present once the end has begun.
    ending: Option<Box<Ending>>,
    /// Wakes the session.
    driver: Option<Waker>,
    /// Those who wait outside the session's task.
    waiters: Option<Box<Waiters>>,
    role: Role,
    /// The driver has seen, under this lock, that there is nothing to do.
    idle: bool,
    /// The driver waits for room in `inbox`.
    paused: bool,
    /// The driver has taken the queue to write it, or has lost it.
    pub(super) writing: bool,
    /// A sender has let the session write first, and nothing has left since.
    pub(super) yielded: bool,

    /// A `WebSocket` or a `Receiver` is alive.
    pub(super) receiver_alive: bool,
    /// A whole `WebSocket` was dropped.
    abandoned: bool,

    /// The application asked for control frames.
    pub(super) observed: bool,
}

/// Events that were decoded and not received.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) events: VecDeque<Event>,
    /// In bytes, with an allowance for each event.
    pub(super) size: usize,
}

/// How a connection ends.
#[derive(Default)]
struct Ending {
    /// Set once nothing more is delivered.
    end: Option<End>,
    /// Who sent the first Close frame, and what it said.
    first_close: Option<(EndedBy, Option<CloseFrame>)>,
    /// The peer's Close frame, where it had a code.
    peer_close: Option<CloseFrame>,
    /// A whole `WebSocket` was dropped by a panic.
    panicked: bool,
    /// The transport is gone.
    over: bool,
}

/// How receiving ends.
enum End {
    Clean,
    /// The error is taken by the first who receives it.
    Failed(Option<Error>),
}

#[derive(Default)]
struct Waiters {
    receiver: Option<Waker>,
    /// For the queue to be no longer than `max_send_queue`.
    room: Vec<Waker>,
    /// For everything queued to be written.
    flush: Vec<Waker>,
    /// For the end, each by the number of its future. They may be dropped at any time, and wait long.
    closed: Vec<(u64, Waker)>,
    last: u64,
}

impl Shared {
    pub(super) fn new(role: Role, hooks: Arc<Hooks>, protocol: Option<Box<str>>) -> Arc<Self> {
        Arc::new(Self {
            hooks,
            protocol: protocol.map(Box::new),
            inner: Mutex::new(Inner {
                outgoing: Outgoing::default(),
                inbox: None,
                ending: None,
                driver: None,
                waiters: None,
                role,
                idle: false,
                paused: false,
                writing: false,
                yielded: false,
                receiver_alive: true,
                abandoned: false,

                observed: false,
            }),
        })
    }

    pub(super) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref().map(|name| &**name)
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
        let mut inner = self.lock();
        if let Some(event) = inner.pop_event() {
            let resume = inner.paused && self.has_room(&inner);
            let driver = if resume { inner.take_driver() } else { None };
            let spent = inner.take_spent_inbox();
            drop(inner);
            wake(driver);
            drop(spent);
            return Poll::Ready(Ok(Some(event)));
        }
        match inner.ending.as_mut().and_then(|ending| ending.end.as_mut()) {
            Some(End::Clean) => return Poll::Ready(Ok(None)),
            Some(End::Failed(error)) => {
                return Poll::Ready(error.take().map_or(Ok(None), Err));
            }
            None => {}
        }
        let before = inner.wait_to_receive(cx);
        drop(inner);
        drop(before);
        Poll::Pending
    }

    /// Queues a message unless too much waits; see `Sender::send`.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Poll::Ready(Err(Error::Closed));
        }
        let queued = inner.outgoing.queued();
        if queued > self.hooks.config.max_send_queue {
            add(&mut inner.waiters().room, cx);
            return Poll::Pending;
        }
        if queued >= CORK && !mem::replace(&mut inner.yielded, true) {
            // The session writes before it polls the handler again.
            drop(inner);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(message) = message.take() else {
            return Poll::Ready(Ok(()));
        };
        let queued = inner.queue(&self.hooks, message);
        drop(inner);
        queued.finish();
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
        let queued = inner.queue(&self.hooks, message);
        drop(inner);
        queued.finish();
        Ok(())
    }

    /// Queues a message, for which there was room when that was asked.
    pub(super) fn queue(&self, message: Message) -> Result<(), Error> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Err(Error::Closed);
        }
        let queued = inner.queue(&self.hooks, message);
        drop(inner);
        queued.finish();
        Ok(())
    }

    /// Waits until no more is queued than `max_send_queue` allows.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Poll::Ready(Err(Error::Closed));
        }
        if inner.outgoing.queued() > self.hooks.config.max_send_queue {
            add(&mut inner.waiters().room, cx);
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
        add(&mut inner.waiters().flush, cx);
        Poll::Pending
    }

    /// Waits until the connection is over; `number` is that of the waiting future, once it has one.
    pub(super) fn poll_closed(&self, cx: &mut Context<'_>, number: &mut Option<u64>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_over() {
            return Poll::Ready(());
        }
        let waiters = inner.waiters();
        let known = *number.get_or_insert_with(|| {
            waiters.last += 1;
            waiters.last
        });
        let replaced = match waiters
            .closed
            .iter_mut()
            .find(|(waiting, _)| *waiting == known)
        {
            Some((_, waker)) if waker.will_wake(cx.waker()) => None,
            Some((_, waker)) => Some(mem::replace(waker, cx.waker().clone())),
            None => {
                waiters.closed.push((known, cx.waker().clone()));
                None
            }
        };
        drop(inner);
        drop(replaced);
        Poll::Pending
    }

    /// Waits until the connection is over, for a sink, which has no future to be dropped.
    pub(super) fn poll_sink_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_over() {
            return Poll::Ready(());
        }
        let closed = &mut inner.waiters().closed;
        if !closed.iter().any(|(_, waker)| waker.will_wake(cx.waker())) {
            closed.push((SINK, cx.waker().clone()));
        }
        Poll::Pending
    }

    /// A future that waited for the end was dropped.
    pub(super) fn forget_closed(&self, number: u64) {
        let mut inner = self.lock();
        let forgotten = inner.waiters.as_mut().and_then(|waiters| {
            let index = waiters
                .closed
                .iter()
                .position(|(waiting, _)| *waiting == number)?;
            Some(waiters.closed.swap_remove(index))
        });
        drop(inner);
        drop(forgotten);
    }

    /// Whether another event may be decoded: always one, then while the limit is not reached.
    #[inline]
    pub(super) fn has_room(&self, inner: &Inner) -> bool {
        inner.inbox_size() < self.hooks.config.max_read_ahead.max(1)
    }
}

impl Inner {
    /// Queues a message on an open connection.
    #[inline]
    fn queue(&mut self, hooks: &Hooks, message: Message) -> Queued {
        if self.outgoing.needs_queue() {
            self.outgoing.adopt(scratch::take_queue());
        }
        // The caller has seen, under the same lock, that the connection is open.
        let copied = self.outgoing.message(&hooks.encoder(self.role), message);
        Queued {
            driver: self.take_driver(),
            copied: copied.ok().flatten(),
        }
    }

    pub(super) fn ping(&mut self, hooks: &Hooks, payload: &[u8]) -> Result<(), Error> {
        let ping = self.outgoing.ping(&hooks.encoder(self.role), payload);
        ping.map_err(|NotOpen| Error::Closed)
    }

    pub(super) fn pong(&mut self, hooks: &Hooks, payload: &[u8]) -> Result<(), Error> {
        let pong = self.outgoing.pong(&hooks.encoder(self.role), payload);
        pong.map_err(|NotOpen| Error::Closed)
    }

    /// Does what a control frame asks for.
    pub(super) fn receive_control(&mut self, hooks: &Hooks, event: &Event) {
        let auto_pong = hooks.config.auto_pong;
        self.outgoing
            .receive(&hooks.encoder(self.role), event, auto_pong);
    }

    /// Takes note that a queue was written, and answers the ping that waited for that. Gives those
    /// who waited for it.
    pub(super) fn written(&mut self, hooks: &Hooks, queue: &mut Queue) -> Wakers {
        self.writing = false;
        self.yielded = false;
        self.outgoing.written(&hooks.encoder(self.role), queue);
        let flushed = self.outgoing.queued() == 0;
        self.take_waiting(true, flushed)
    }

    /// Puts back what could not be written, after `left` bytes were. Gives those who waited for room, if there is some now.
    pub(super) fn put_back(&mut self, hooks: &Hooks, rest: Box<Queue>, left: usize) -> Wakers {
        self.writing = false;
        let progress = left > 0;
        self.yielded &= !progress;
        self.outgoing
            .put_back(&hooks.encoder(self.role), rest, left);
        // Without progress there is no room that was not there before.
        let room = progress && self.outgoing.queued() <= hooks.config.max_send_queue;
        self.take_waiting(room, false)
    }

    /// The transport takes nothing more: what was queued is lost. Gives it, and who waited for it.
    pub(super) fn lose(&mut self) -> (Option<Box<Queue>>, Wakers) {
        self.writing = true;
        self.outgoing.end();
        (self.outgoing.clear(), self.take_waiting(true, true))
    }

    /// Sends a Close frame, if it is the first; tells whether it was.
    pub(super) fn close(&mut self, hooks: &Hooks, by: EndedBy, frame: &CloseFrame) -> bool {
        let encoder = hooks.encoder(self.role);
        let first = self.outgoing.close(&encoder, Some(frame)).is_ok();
        if first {
            self.ending().first_close = Some((by, Some(frame.clone())));
        }
        first
    }

    /// Takes the peer's Close frame, and answers it if it is the first.
    pub(super) fn receive_close(&mut self, hooks: &Hooks, frame: Option<CloseFrame>) {
        if !self.outgoing.close_sent() {
            self.ending().first_close = Some((EndedBy::Peer, frame.clone()));
        }
        self.receive_control(hooks, &Event::Close(frame.clone()));
        self.ending().peer_close = frame;
    }

    /// Shows the peer's Close to those who asked for control frames.
    pub(super) fn observe_close(&mut self, turn: &Waker) -> Option<Waker> {
        if !self.observed || !self.receiver_alive {
            return None;
        }
        let frame = self.peer_close();
        let mut events = VecDeque::from([Event::Close(frame)]);
        self.deliver(&mut events, turn)
    }

    /// Says that nothing more is delivered; what was said first holds.
    pub(super) fn end(&mut self, error: Option<Error>, clean: bool) {
        let end = if clean {
            End::Clean
        } else {
            End::Failed(error)
        };
        self.ending().end.get_or_insert(end);
    }

    pub(super) fn first_close(&self) -> Option<&(EndedBy, Option<CloseFrame>)> {
        self.ending.as_ref()?.first_close.as_ref()
    }

    pub(super) fn peer_close(&self) -> Option<CloseFrame> {
        self.ending.as_ref()?.peer_close.clone()
    }

    fn is_over(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.over)
    }

    fn ending(&mut self) -> &mut Ending {
        self.ending.get_or_insert_default()
    }

    /// The code to close with, where the connection is open and nobody is left to receive.
    pub(super) fn abandoned(&self, handler_finished: bool) -> Option<CloseCode> {
        let nobody = self.abandoned || (handler_finished && !self.receiver_alive);
        if !nobody || self.outgoing.state() != State::Open {
            return None;
        }
        let panicked = self.ending.as_ref().is_some_and(|ending| ending.panicked);
        Some(if panicked {
            CloseCode::INTERNAL_ERROR
        } else {
            CloseCode::NORMAL
        })
    }

    /// The application has closed; gives what it will not receive.
    pub(super) fn discard_inbox(&mut self) -> Option<Box<Inbox>> {
        self.inbox.take()
    }

    /// The receiver is gone, with a `whole` WebSocket or not; gives what it will not receive.
    pub(super) fn drop_receiver(&mut self, whole: bool, panicked: bool) -> Option<Box<Inbox>> {
        self.receiver_alive = false;
        self.abandoned |= whole;
        if whole && panicked {
            self.ending().panicked = true;
        }
        self.inbox.take()
    }

    pub(super) fn inbox_len(&self) -> usize {
        self.inbox.as_ref().map_or(0, |inbox| inbox.events.len())
    }

    pub(super) fn inbox_size(&self) -> usize {
        self.inbox.as_ref().map_or(0, |inbox| inbox.size)
    }

    #[inline]
    fn pop_event(&mut self) -> Option<Event> {
        let inbox = self.inbox.as_mut()?;
        let event = inbox.events.pop_front()?;
        inbox.size -= size(&event);
        Some(event)
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

    /// The driver's turn begins: nobody needs to wake it. Gives a waker to drop.
    #[inline]
    pub(super) fn begin_turn(&mut self, turn: &Waker) -> Option<Waker> {
        self.idle = false;
        if self
            .driver
            .as_ref()
            .is_some_and(|waker| waker.will_wake(turn))
        {
            return None;
        }
        self.driver.replace(turn.clone())
    }

    /// The driver's turn ends with nothing left to do.
    #[inline]
    pub(super) fn end_turn(&mut self, paused: bool) {
        self.idle = true;
        self.paused = paused;
    }

    /// Gives the memory of an inbox that was emptied while the driver is idle.
    #[inline]
    pub(super) fn take_spent_inbox(&mut self) -> Option<Box<Inbox>> {
        if !self.idle {
            return None;
        }
        self.inbox.take_if(|inbox| inbox.events.is_empty())
    }

    /// Remembers who waits to receive, and gives the waker it replaces.
    ///
    /// Nobody, where that is the session's own task: the handler is polled in every turn.
    fn wait_to_receive(&mut self, cx: &Context<'_>) -> Option<Waker> {
        let waker = cx.waker();
        if self
            .driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(waker))
        {
            return self
                .waiters
                .as_mut()
                .and_then(|waiters| waiters.receiver.take());
        }
        let receiver = &mut self.waiters().receiver;
        if receiver
            .as_ref()
            .is_some_and(|before| before.will_wake(waker))
        {
            return None;
        }
        receiver.replace(waker.clone())
    }

    fn waiters(&mut self) -> &mut Waiters {
        self.waiters.get_or_insert_default()
    }

    /// Adds what was decoded, and gives the receiver to wake, unless it is polled anyway.
    pub(super) fn deliver(&mut self, events: &mut VecDeque<Event>, turn: &Waker) -> Option<Waker> {
        let inbox = self.inbox.get_or_insert_with(scratch::take_inbox);
        inbox.size += events.iter().map(size).sum::<usize>();
        if inbox.events.is_empty() {
            mem::swap(&mut inbox.events, events);
        } else {
            inbox.events.append(events);
        }
        self.take_receiver(turn)
    }

    /// Gives the receiver to wake, unless it is polled in this turn anyway.
    pub(super) fn take_receiver(&mut self, turn: &Waker) -> Option<Waker> {
        self.waiters
            .as_mut()?
            .receiver
            .take_if(|waker| !waker.will_wake(turn))
    }

    /// Gives those who wait to send, and those who wait for everything to be written.
    pub(super) fn take_waiting(&mut self, room: bool, flush: bool) -> Wakers {
        let Some(waiters) = &mut self.waiters else {
            return Wakers::default();
        };
        let mut wakers = if room {
            mem::take(&mut waiters.room)
        } else {
            Vec::new()
        };
        if flush {
            wakers.append(&mut waiters.flush);
        }
        Wakers(wakers)
    }

    /// The transport is gone. Gives everybody who waits, the session's own task among them.
    pub(super) fn end_all(&mut self) -> Wakers {
        self.ending().over = true;
        self.outgoing.end();
        let waiters = self
            .waiters
            .take()
            .map(|waiters| *waiters)
            .unwrap_or_default();
        let closed = waiters.closed.into_iter().map(|(_, waker)| waker);
        let writers = waiters.room.into_iter().chain(waiters.flush);
        Wakers(writers.chain(closed).chain(waiters.receiver).collect())
    }
}

/// A message was queued: what is to be done outside the lock.
#[must_use]
struct Queued {
    driver: Option<Waker>,
    /// The payload, where it was copied; its drop may run somebody's code.
    copied: Option<Bytes>,
}

impl Queued {
    #[inline]
    fn finish(self) {
        wake(self.driver);
        drop(self.copied);
    }
}

/// Those to wake once the lock is released.
#[derive(Default)]
#[must_use]
pub(super) struct Wakers(Vec<Waker>);

impl Wakers {
    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }

    /// Wakes all but the task whose turn it is; tells whether that waits too.
    pub(super) fn wake_others(self, cx: &Context<'_>) -> bool {
        let mut own = false;
        for waker in self.0 {
            if waker.will_wake(cx.waker()) {
                own = true;
            } else {
                waker.wake();
            }
        }
        own
    }
}

/// Adds a task to those who wait, unless it is there.
fn add(wakers: &mut Vec<Waker>, cx: &Context<'_>) {
    if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
        wakers.push(cx.waker().clone());
    }
}

/// Wakes somebody, outside the lock.
#[inline]
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
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

/// The number of those who wait through a sink.
const SINK: u64 = 0;
