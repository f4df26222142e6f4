//! What the lock of a connection protects.

use std::{
    mem,
    task::{Context, Waker},
};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{
    inbox::Inbox,
    waiters::{Asleep, Queued, Waiters, Wakers, Woken},
};
use crate::{
    CloseCode, CloseFrame, Error, Event, Message,
    memory::Held,
    protocol::{Decoded, Encoder, NotOpen, Outgoing, Queue, Role, State},
    session::{
        report::{EndedBy, Hooks},
        scratch,
    },
};

/// What the lock protects.
pub(crate) struct Inner {
    pub(crate) outgoing: Outgoing,
    /// Decoded and not yet received by the application.
    inbox: Option<Box<Inbox>>,
    /// Present once the end has begun.
    pub(super) ending: Option<Box<Ending>>,
    /// Wakes the session.
    driver: Option<Waker>,
    /// Those who wait outside the session's task.
    pub(super) waiters: Option<Box<Waiters>>,
    role: Role,
    /// The driver has seen, under this lock, that there is nothing to do.
    idle: bool,
    /// What the driver waits for the application to take.
    awaited: Awaited,
    /// The driver has taken the queue to write it, or has lost it.
    pub(crate) writing: bool,
    /// A sender has let the session write first, and nothing has left since.
    pub(crate) yielded: bool,

    /// A `WebSocket` or a `Receiver` is alive.
    pub(crate) receiver_alive: bool,
    /// A whole `WebSocket` was dropped.
    abandoned: bool,

    /// The application asked for control frames.
    pub(crate) observed: bool,
}

/// What the driver waits for the application to take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Awaited {
    Nothing,
    /// So much that there is room in the inbox.
    Room,
    /// All of the inbox, which counts in a budget.
    All,
}

/// How a connection ends.
#[derive(Default)]
pub(super) struct Ending {
    /// Set once nothing more is delivered.
    pub(super) end: Option<End>,
    /// Who sent the first Close frame, and what it said.
    first_close: Option<(EndedBy, Option<CloseFrame>)>,
    /// The peer's Close frame, where it had a code.
    peer_close: Option<CloseFrame>,
    /// A whole `WebSocket` was dropped by a panic.
    panicked: bool,
    /// The transport is gone.
    over: bool,
    /// Nothing is waited for any more.
    pub(super) aborted: bool,
}

/// How receiving ends.
pub(super) enum End {
    Clean,
    /// The error is taken by the first who receives it.
    Failed(Option<Error>),
}

impl Inner {
    pub(super) fn new(role: Role) -> Self {
        Self {
            outgoing: Outgoing::default(),
            inbox: None,
            ending: None,
            driver: None,
            waiters: None,
            role,
            idle: false,
            awaited: Awaited::Nothing,
            writing: false,
            yielded: false,
            receiver_alive: true,
            abandoned: false,

            observed: false,
        }
    }

    /// Queues a message on an open connection.
    #[inline]
    pub(super) fn queue(&mut self, hooks: &Hooks, message: Message) -> Queued {
        if self.outgoing.needs_queue() {
            self.outgoing.adopt(scratch::take_queue());
        }
        // The caller has seen, under the same lock, that the connection is open.
        let copied = self.outgoing.message(&hooks.encoder(self.role), message);
        Queued::new(self.take_driver(), copied.ok().flatten())
    }

    /// Queues a message whose compressed form is `payload`; as [`queue`](Self::queue).
    pub(super) fn queue_compressed(
        &mut self,
        hooks: &Hooks,
        is_text: bool,
        len: usize,
        payload: &[u8],
    ) -> Queued {
        if self.outgoing.needs_queue() {
            self.outgoing.adopt(scratch::take_queue());
        }
        let encoder = self.encoder(hooks);
        let _open = self.outgoing.compressed(&encoder, is_text, len, payload);
        Queued::new(self.take_driver(), None)
    }

    /// Queues a message of `len` bytes that was encoded before; as [`queue`](Self::queue).
    #[inline]
    pub(super) fn queue_frames(&mut self, len: usize, frames: &Bytes) -> Queued {
        if self.outgoing.needs_queue() {
            self.outgoing.adopt(scratch::take_queue());
        }
        let _open = self.outgoing.encoded(len, frames);
        Queued::new(self.take_driver(), None)
    }

    /// The message that was sent piece by piece has ended. Gives those who waited for that.
    pub(crate) fn end_stream(&mut self, hooks: &Hooks) -> Wakers {
        self.outgoing.end_stream();
        let mut wakers = self.take_able(hooks, false);
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

    /// What this connection's messages are encoded with.
    pub(crate) fn encoder(&self, hooks: &Hooks) -> Encoder {
        hooks.encoder(self.role)
    }

    pub(crate) fn ping(&mut self, hooks: &Hooks, payload: &[u8]) -> Result<(), Error> {
        let ping = self.outgoing.ping(&hooks.encoder(self.role), payload);
        ping.map_err(|NotOpen| Error::Closed)
    }

    pub(crate) fn pong(&mut self, hooks: &Hooks, payload: &[u8]) -> Result<(), Error> {
        let pong = self.outgoing.pong(&hooks.encoder(self.role), payload);
        pong.map_err(|NotOpen| Error::Closed)
    }

    /// Does what a control frame asks for.
    pub(crate) fn receive_control(&mut self, hooks: &Hooks, event: &Event) {
        let auto_pong = hooks.config.auto_pong;
        self.outgoing
            .receive(&hooks.encoder(self.role), event, auto_pong);
    }

    /// Takes note that a queue was written, and answers the ping that waited for that. Gives those
    /// who waited for it.
    pub(crate) fn written(&mut self, hooks: &Hooks, queue: &mut Queue) -> Wakers {
        self.writing = false;
        self.yielded = false;
        self.outgoing.written(&hooks.encoder(self.role), queue);
        let flushed = self.outgoing.queued() == 0;
        self.take_able(hooks, flushed)
    }

    /// Puts back what could not be written, after `left` bytes were. Gives those who waited for
    /// room, if there is some now.
    pub(crate) fn put_back(&mut self, hooks: &Hooks, rest: Box<Queue>, left: usize) -> Wakers {
        self.writing = false;
        let progress = left > 0;
        self.yielded &= !progress;
        self.outgoing
            .put_back(&hooks.encoder(self.role), rest, left);
        // Without progress there is no room that was not there before.
        if progress {
            self.take_able(hooks, false)
        } else {
            Wakers::default()
        }
    }

    /// The transport takes nothing more: what was queued is lost. Gives it, and who waited for it.
    pub(crate) fn lose(&mut self) -> (Option<Box<Queue>>, Wakers) {
        self.writing = true;
        self.outgoing.end();
        (self.outgoing.clear(), self.take_waiting(true, true))
    }

    /// Sends a Close frame, if it is the first; tells whether it was.
    pub(crate) fn close(&mut self, hooks: &Hooks, by: EndedBy, frame: &CloseFrame) -> bool {
        let encoder = hooks.encoder(self.role);
        let first = self.outgoing.close(&encoder, Some(frame)).is_ok();
        if first {
            self.ending().first_close = Some((by, Some(frame.clone())));
        }
        first
    }

    /// Takes the peer's Close frame, and answers it if it is the first.
    pub(crate) fn receive_close(&mut self, hooks: &Hooks, frame: Option<CloseFrame>) {
        if !self.outgoing.close_sent() {
            self.ending().first_close = Some((EndedBy::Peer, frame.clone()));
        }
        self.receive_control(hooks, &Event::Close(frame.clone()));
        self.ending().peer_close = frame;
    }

    /// Shows the peer's Close to those who asked for control frames.
    pub(crate) fn observe_close(&mut self, turn: &Waker) -> Option<Woken> {
        if !self.observed || !self.receiver_alive {
            return None;
        }
        let frame = self.peer_close();
        let mut inbox = scratch::take_inbox();
        inbox.push(Decoded::Event(Event::Close(frame)));
        // A Close is nobody's code, and may be dropped here.
        self.deliver(inbox, turn).0
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
        self.ending.as_ref()?.first_close.as_ref()
    }

    pub(crate) fn peer_close(&self) -> Option<CloseFrame> {
        self.ending.as_ref()?.peer_close.clone()
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.aborted)
    }

    pub(super) fn is_over(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.over)
    }

    pub(super) fn ending(&mut self) -> &mut Ending {
        self.ending.get_or_insert_default()
    }

    /// The code to close with, where the connection is open and nobody is left to receive.
    pub(crate) fn abandoned(&self, handler_finished: bool) -> Option<CloseCode> {
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
    pub(crate) fn discard_inbox(&mut self) -> Option<Box<Inbox>> {
        self.inbox.take()
    }

    /// The receiver is gone, with a `whole` WebSocket or not; gives what it will not receive.
    pub(crate) fn drop_receiver(&mut self, whole: bool, panicked: bool) -> Option<Box<Inbox>> {
        self.receiver_alive = false;
        self.abandoned |= whole;
        if whole && panicked {
            self.ending().panicked = true;
        }
        self.inbox.take()
    }

    pub(crate) fn inbox_len(&self) -> usize {
        self.inbox.as_ref().map_or(0, |inbox| inbox.events.len())
    }

    pub(crate) fn inbox_size(&self) -> usize {
        self.inbox.as_ref().map_or(0, |inbox| inbox.size)
    }

    /// What waits for the application and for the transport.
    pub(crate) fn held(&self) -> Held {
        let inbox = self.inbox.as_ref().map_or(0, |inbox| inbox.memory());
        self.outgoing.held().and(inbox)
    }

    /// Whether the application has taken what the driver waits for.
    #[inline]
    pub(super) fn is_taken(&self, has_room: impl FnOnce(&Self) -> bool) -> bool {
        match self.awaited {
            Awaited::Nothing => false,
            Awaited::Room => has_room(self),
            Awaited::All => self.inbox_len() == 0,
        }
    }

    #[inline]
    pub(super) fn inbox_mut(&mut self) -> Option<&mut Inbox> {
        self.inbox.as_deref_mut()
    }

    /// Passes over the rest of the message that is being received piece by piece.
    pub(crate) fn skip_message(&mut self) {
        let inbox = self.inbox.get_or_insert_with(scratch::take_inbox);
        inbox.skip_message();
        let ending = self.ending.as_ref();
        if inbox.events.is_empty() && ending.is_some_and(|ending| ending.end.is_some()) {
            // Nothing more comes that could be passed over.
            self.inbox = None;
        }
    }

    /// Gives the driver to wake, if it is idle.
    #[inline]
    pub(super) fn take_driver(&mut self) -> Option<Waker> {
        if mem::replace(&mut self.idle, false) {
            self.driver.take()
        } else {
            None
        }
    }

    /// The session whose `waker` was taken, and where it runs.
    pub(super) fn asleep(&self, waker: Waker) -> Asleep {
        let runtime = self.runtime().map(Handle::id);
        Asleep { waker, runtime }
    }

    /// Where the session runs, as far as that is known: it is, from the first turn on
    /// in which the connection is waited for.
    pub(crate) fn runtime(&self) -> Option<&Handle> {
        self.waiters.as_ref()?.runtime.as_ref()
    }

    /// The driver's turn, or another round of it, begins: nobody needs to wake it. Tells whether
    /// somebody has, and gives a waker to drop.
    #[inline]
    pub(crate) fn begin_turn(&mut self, turn: &Waker) -> (bool, Option<Waker>) {
        let woken = !mem::replace(&mut self.idle, false);
        if self
            .driver
            .as_ref()
            .is_some_and(|waker| waker.will_wake(turn))
        {
            return (woken, None);
        }
        (woken, self.driver.replace(turn.clone()))
    }

    /// The driver's turn ends with nothing left to do.
    #[inline]
    pub(crate) fn end_turn(&mut self, awaited: Awaited) {
        if let Some(waiters) = &mut self.waiters
            && waiters.runtime.is_none()
        {
            waiters.runtime = Handle::try_current().ok();
        }
        self.idle = true;
        self.awaited = awaited;
    }

    /// Gives the memory of an inbox that was emptied while the driver is idle.
    #[inline]
    pub(crate) fn take_spent_inbox(&mut self) -> Option<Box<Inbox>> {
        if !self.idle {
            return None;
        }
        self.take_emptied_inbox()
    }

    /// Gives the memory of an inbox that was emptied.
    #[inline]
    pub(crate) fn take_emptied_inbox(&mut self) -> Option<Box<Inbox>> {
        self.inbox.take_if(|inbox| inbox.is_spent())
    }

    /// Remembers who waits to receive, and gives the waker it replaces.
    ///
    /// Nobody, where that is the session's own task: the handler is polled in every turn.
    #[inline]
    pub(super) fn wait_to_receive(&mut self, cx: &Context<'_>) -> Option<Waker> {
        let waker = cx.waker();
        if self
            .driver
            .as_ref()
            .is_some_and(|driver| driver.will_wake(waker))
        {
            let waiters = self.waiters.as_mut()?;
            waiters.elsewhere = false;
            return waiters.receiver.take();
        }
        let waiters = self.waiters();
        waiters.elsewhere = true;
        let receiver = &mut waiters.receiver;
        if receiver
            .as_ref()
            .is_some_and(|before| before.will_wake(waker))
        {
            return None;
        }
        receiver.replace(waker.clone())
    }

    /// Whether somebody receives in another task, as whoever outlives the handler does, and has not
    /// come back for more.
    pub(crate) fn receiver_is_away(&self, handler_finished: bool) -> bool {
        let (elsewhere, waiting) = match &self.waiters {
            Some(waiters) => (waiters.elsewhere, waiters.receiver.is_some()),
            None => (false, false),
        };
        self.receiver_alive && !waiting && (elsewhere || handler_finished)
    }

    pub(crate) fn waiters(&mut self) -> &mut Waiters {
        self.waiters.get_or_insert_default()
    }

    /// Adds what was decoded. Gives the receiver to wake, unless it is polled anyway, and what is
    /// left over of `decoded`.
    pub(crate) fn deliver(
        &mut self,
        mut decoded: Box<Inbox>,
        turn: &Waker,
    ) -> (Option<Woken>, Option<Box<Inbox>>) {
        let spent = match &mut self.inbox {
            None => {
                self.inbox = Some(decoded);
                None
            }
            Some(inbox) => {
                inbox.append(&mut decoded.events);
                decoded.clear();
                Some(decoded)
            }
        };
        (self.take_receiver(turn), spent)
    }

    /// Gives the receiver to wake, unless it is polled in this turn anyway.
    pub(crate) fn take_receiver(&mut self, turn: &Waker) -> Option<Woken> {
        let receiver = &mut self.waiters.as_mut()?.receiver;
        receiver.take_if(|waker| !waker.will_wake(turn)).map(Woken)
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
    fn take_able(&mut self, hooks: &Hooks, flush: bool) -> Wakers {
        match &self.waiters {
            Some(_) => self.take_some(hooks, flush),
            None => Wakers::default(),
        }
    }

    fn take_some(&mut self, hooks: &Hooks, flush: bool) -> Wakers {
        if self.outgoing.state() != State::Open {
            // None of them will send.
            return self.take_waiting(true, flush);
        }
        let mut wakers = self.take_waiting(false, flush);
        let full = self.outgoing.is_full(&hooks.config);
        let queued = self.outgoing.queued();
        let Some(sending) = self.waiters.as_mut().and_then(|all| all.sending_mut()) else {
            return wakers;
        };
        if queued <= hooks.config.max_send_queue {
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
        let most = hooks.config.max_send_messages.unwrap_or(usize::MAX);
        while bytes <= hooks.config.max_send_queue
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
    pub(super) fn pass_room_on(&mut self, hooks: &Hooks) -> Option<Woken> {
        // Those of a connection that is closing are woken all at once, when the Close has left.
        if self.outgoing.state() != State::Open || self.outgoing.is_full(&hooks.config) {
            return None;
        }
        let (waker, _) = self.waiters.as_mut()?.sending_mut()?.room.pop()?;
        Some(Woken(waker))
    }

    /// The transport is gone. Gives everybody who waits, the session's own task among them.
    pub(crate) fn end_all(&mut self) -> Wakers {
        self.ending().over = true;
        self.outgoing.end();
        let mut wakers = self.take_waiting(true, true);
        if let Some(mut waiters) = self.waiters.take() {
            wakers.drain(&mut waiters.closed);
            if let Some(sinks) = waiters.sending_mut().and_then(|all| all.sinks.as_mut()) {
                wakers.extend(sinks.closed.take());
            }
            wakers.extend(waiters.receiver.take());
        }
        wakers
    }
}

/// What a message takes in the queue beside its payload, at least.
const FRAME: usize = 2;
