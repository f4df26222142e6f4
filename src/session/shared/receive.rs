//! What is received: how the driver delivers it, and how receivers take it.

use std::{
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::{
    Shared,
    ending::End,
    inbox::Inbox,
    locked::{Awaited, Keeper, Locked},
    waiters::{Waiters, Woken, wake},
};
use crate::{
    config::Config,
    error::Error,
    lock::LockGuard,
    protocol::{Decoded, Event, Facts, Incoming, Limits, Message, Piece, ProtocolError, Timers},
    session::{loan, report::EndedBy, setup::Setup},
};

impl Shared {
    pub(crate) fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        let limit = self.setup.config.max_message_size;
        self.poll_inbox(cx, |inbox| inbox.pop_whole(limit))
    }

    /// Receives the next message, passing over control frames.
    pub(crate) fn poll_message(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Error>> {
        if !self.is_touched()
            && let Some(lent) = loan::poll_message(self.address(), cx)
        {
            return lent.map(|message| Ok(Some(message)));
        }
        let limit = self.setup.config.max_message_size;
        self.poll_inbox(cx, |inbox| inbox.pop_message(limit))
    }

    /// Receives the next piece of a message that is received as it arrives.
    pub(crate) fn poll_piece(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Piece>, Error>> {
        self.poll_inbox(cx, |inbox| inbox.pop_piece().map(Ok))
    }

    /// Takes something from the inbox, waiting until it is there or nothing comes any more.
    #[inline]
    fn poll_inbox<T>(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Inbox) -> Option<Result<T, ProtocolError>>,
    ) -> Poll<Result<Option<T>, Error>> {
        let mut locked = self.lock();
        match locked.inbox.as_deref_mut().and_then(take) {
            Some(Ok(taken)) => {
                let resume = locked.is_taken(|locked| self.has_room(locked));
                let driver = if resume { locked.take_driver() } else { None };
                let spent = locked.take_spent_inbox();
                drop(locked);
                wake(driver);
                drop(spent);
                return Poll::Ready(Ok(Some(taken)));
            }
            Some(Err(error)) => return Poll::Ready(Err(self.fail_to_receive(locked, error))),
            None => {}
        }
        match locked.end_mut() {
            Some(End::Clean) => return Poll::Ready(Ok(None)),
            Some(End::Failed(error)) => {
                return Poll::Ready(error.take().map_or(Ok(None), Err));
            }
            None => {}
        }
        let resume = locked.is_taken(|locked| self.has_room(locked));
        let driver = if resume { locked.take_driver() } else { None };
        let before = locked.wait_to_receive(cx);
        drop(locked);
        wake(driver);
        drop(before);
        Poll::Pending
    }

    /// What was received is no message; nothing comes behind it.
    #[cold]
    fn fail_to_receive(&self, mut locked: LockGuard<'_, Locked>, error: ProtocolError) -> Error {
        locked.close(&self.setup, EndedBy::Violation, &error.close_frame());
        locked.end(None, false);
        let driver = locked.take_driver();
        let discarded = locked.discard_inbox();
        drop(locked);
        wake(driver);
        drop(discarded);
        Error::Protocol(error)
    }

    /// Reports whether another event may be decoded: always one, then while the limit is not reached.
    #[inline]
    pub(crate) fn has_room(&self, locked: &Locked) -> bool {
        self.has_room_beside(locked.inbox_size())
    }

    /// Reports whether another event may be decoded where so many bytes wait.
    #[inline]
    pub(crate) fn has_room_beside(&self, waiting: usize) -> bool {
        waiting < self.setup.config.max_read_ahead.max(1)
    }
}

impl Locked {
    /// Reports whether the handler may receive messages that are not in the inbox.
    #[inline]
    pub(crate) fn lends_messages(&self) -> bool {
        let spent = |inbox: &Inbox| inbox.is_spent();
        let free = |waiters: &Waiters| !waiters.elsewhere && waiters.receiver.is_none();
        self.is_received()
            && !self.observed
            && self.known_ending().is_none()
            && self.inbox.as_deref().is_none_or(spent)
            && self.waiters.as_deref().is_none_or(free)
    }

    /// Does what a ping or a pong asks for; see [`Incoming::control`].
    pub(crate) fn receive_control(
        &mut self,
        event: &Event,
        incoming: &mut Incoming,
        timers: &mut Timers,
        now: Instant,
        setup: &Setup,
    ) -> Result<(), ProtocolError> {
        let (encoder, config) = (setup.encoder(), &setup.config);
        if matches!(event, Event::Ping(_)) && config.auto_pong {
            self.adopt_queue_if_open();
        }
        incoming.control(event, &mut self.outgoing, timers, now, &encoder, config)
    }

    /// Returns what the deadlines are judged by.
    pub(crate) fn facts(&self, incoming: &Incoming, config: &Config, undecoded: usize) -> Facts {
        incoming.facts(&self.outgoing, &Limits::new(config), undecoded)
    }

    /// Delivers what was decoded, unless nobody wants it. Gives the receiver to wake, unless it is polled anyway, and what is
    /// left over of `decoded`.
    pub(crate) fn deliver(
        &mut self,
        mut decoded: Box<Inbox>,
        turn: &Waker,
    ) -> (Option<Woken>, Option<Box<Inbox>>) {
        if self.close_sent() && !self.close_received() {
            // The application may have closed while these were decoded.
            decoded.keep_control();
        }
        if !self.is_received() || decoded.events.is_empty() {
            return (None, Some(decoded));
        }
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

    /// Shows the peer's Close to those who asked for control frames.
    pub(crate) fn observe_close(&mut self, turn: &Waker) -> Option<Woken> {
        if !self.observed {
            return None;
        }
        let frame = self.peer_close();
        let mut inbox = Inbox::take();
        inbox.push(Decoded::Event(Event::Close(frame)));
        // A Close is nobody's code, and may be dropped here.
        self.deliver(inbox, turn).0
    }

    /// Gives the receiver to wake, unless it is polled in this turn anyway.
    pub(crate) fn take_receiver(&mut self, turn: &Waker) -> Option<Woken> {
        let receiver = &mut self.waiters.as_mut()?.receiver;
        receiver.take_if(|waker| !waker.will_wake(turn)).map(Woken)
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

    /// Reports whether somebody receives in another task, as whoever outlives the handler does, and has not
    /// come back for more.
    pub(crate) fn receiver_is_away(&self, handler_finished: bool) -> bool {
        let (elsewhere, waiting) = match &self.waiters {
            Some(waiters) => (waiters.elsewhere, waiters.receiver.is_some()),
            None => (false, false),
        };
        self.is_received() && !waiting && (elsewhere || handler_finished)
    }

    /// Passes over the rest of the message that is being received piece by piece.
    pub(crate) fn skip_message(&mut self) {
        let over = self.end_mut().is_some();
        let inbox = self.inbox.get_or_insert_with(Inbox::take);
        inbox.skip_message();
        if inbox.events.is_empty() && over {
            // Nothing more comes that could be passed over.
            self.inbox = None;
        }
    }

    /// The application has closed; gives what it will not receive.
    pub(crate) fn discard_inbox(&mut self) -> Option<Box<Inbox>> {
        self.inbox.take()
    }

    /// The receiver is gone, with a `whole` WebSocket or not; gives what it will not receive.
    pub(crate) fn drop_receiver(&mut self, whole: bool, panicked: bool) -> Option<Box<Inbox>> {
        self.keeper = match self.keeper {
            _ if whole => Keeper::Nobody,
            Keeper::Receiver => Keeper::Handler,
            keeper => keeper,
        };
        if whole && panicked {
            self.ending().panicked = true;
        }
        self.inbox.take()
    }

    /// Nobody wants to receive any more, and the connection is kept open to send; gives what was not received.
    pub(crate) fn drop_reader(&mut self) -> Option<Box<Inbox>> {
        self.keeper = Keeper::Writer;
        self.inbox.take()
    }

    /// Reports whether the application has taken what the driver waits for.
    #[inline]
    pub(super) fn is_taken(&self, has_room: impl FnOnce(&Self) -> bool) -> bool {
        match self.awaited {
            Awaited::Nothing => false,
            Awaited::Room => has_room(self),
            Awaited::All => self.inbox_len() == 0,
        }
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
}
