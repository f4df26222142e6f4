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
    /// The driver has taken the queue to write it.
    pub(super) writing: bool,
    /// A sender has let the session write first, and it has not written since.
    pub(super) yielded: bool,
    /// A `WebSocket` or a `Receiver` is alive.
    pub(super) receiver_alive: bool,
    /// A whole `WebSocket` was dropped.
    pub(super) abandoned: bool,
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
    senders: Vec<Waker>,
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
            inner.wait_for_room(cx);
            return Poll::Pending;
        }
        if queued >= CORK && !mem::replace(&mut inner.yielded, true) {
            // The session writes before it polls the handler again.
            drop(inner);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let driver = message
            .take()
            .and_then(|message| inner.queue(&self.hooks, message));
        drop(inner);
        wake(driver);
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
        let driver = inner.queue(&self.hooks, message);
        drop(inner);
        wake(driver);
        Ok(())
    }

    /// Queues a message, for which there was room when that was asked.
    pub(super) fn queue(&self, message: Message) -> Result<(), Error> {
        let mut inner = self.lock();
        if inner.outgoing.state() != State::Open {
            return Err(Error::Closed);
        }
        let driver = inner.queue(&self.hooks, message);
        drop(inner);
        wake(driver);
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
        inner.inbox_size() < self.hooks.config.max_read_ahead.max(1)
    }
}

impl Inner {
    /// Queues a message on an open connection, and gives the driver to wake.
    #[inline]
    fn queue(&mut self, hooks: &Hooks, message: Message) -> Option<Waker> {
        if self.outgoing.needs_queue() {
            self.outgoing.adopt(scratch::take_queue());
        }
        // The caller has seen, under the same lock, that the connection is open.
        let _open = self.outgoing.message(&hooks.encoder(self.role), message);
        self.take_driver()
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

    /// Takes note that a queue was written, and answers the ping that waited for that.
    pub(super) fn written(&mut self, hooks: &Hooks, queue: &mut Queue) {
        self.writing = false;
        self.outgoing.written(&hooks.encoder(self.role), queue);
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

    fn ending(&mut self) -> &mut Ending {
        self.ending.get_or_insert_default()
    }

    /// Whether the connection is open, and nobody is left to receive.
    pub(super) fn is_abandoned(&self, handler_finished: bool) -> bool {
        let nobody = self.abandoned || (handler_finished && !self.receiver_alive);
        nobody && self.outgoing.state() == State::Open
    }

    /// The application has closed; gives what it will not receive.
    ///
    /// The driver may have waited for room in the inbox.
    pub(super) fn discard_inbox(&mut self) -> Option<Box<Inbox>> {
        self.inbox.take()
    }

    /// The receiver is gone; gives what it will not receive.
    pub(super) fn drop_receiver(&mut self, abandoned: bool) -> Option<Box<Inbox>> {
        self.receiver_alive = false;
        self.abandoned |= abandoned;
        self.inbox.take()
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
        let receiver = &mut self.waiters.get_or_insert_default().receiver;
        if receiver
            .as_ref()
            .is_some_and(|before| before.will_wake(waker))
        {
            return None;
        }
        receiver.replace(waker.clone())
    }

    fn wait_for_room(&mut self, cx: &Context<'_>) {
        let senders = &mut self.waiters.get_or_insert_default().senders;
        if !senders.iter().any(|waker| waker.will_wake(cx.waker())) {
            senders.push(cx.waker().clone());
        }
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

    /// Gives those who wait to send, or for the end.
    pub(super) fn take_senders(&mut self) -> Vec<Waker> {
        self.waiters
            .as_mut()
            .map(|waiters| mem::take(&mut waiters.senders))
            .unwrap_or_default()
    }

    /// Gives everybody who waits, the session's own task among them.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let waiters = self
            .waiters
            .take()
            .map(|waiters| *waiters)
            .unwrap_or_default();
        waiters.senders.into_iter().chain(waiters.receiver)
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
