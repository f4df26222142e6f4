//! One round of a session's turn: what the driver does before the handler is polled, and after.

use std::{mem, pin::Pin, task::Context};

use bytes::BytesMut;
use tokio::time::Sleep;

use super::{Driver, Input, Phase, write::Written};
use crate::{
    memory::{Held, LITTLE},
    session::{
        registry::counters::Traffic,
        scratch,
        shared::{
            CORK,
            inbox::Inbox,
            locked::{Awaited, Inner},
        },
    },
    sync::MutexGuard,
};

/// What lasts as long as one turn of a session.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(super) budget: Budget,
    /// The thread's buffer, while something is read to it.
    pub(super) buffer: BytesMut,
    /// There may be messages in it that the handler was not given.
    pub(crate) undecoded: bool,
    /// What waited for the application and for the transport when the turn ended.
    pub(crate) left: Held,
}

impl Turn {
    /// Gives the buffer back to the thread, with what was not decoded.
    pub(super) fn forget_undecoded(&mut self) {
        if mem::take(&mut self.undecoded) {
            scratch::put_back_buffer(mem::take(&mut self.buffer));
        }
    }
}

/// What one turn of a session may read, decompress and write before others get theirs.
///
/// Every loop of a turn spends some of it each time round, whatever the state of the transport, and
/// ends when it is spent.
#[derive(Debug)]
pub(super) struct Budget {
    messages: usize,
    bytes: usize,
    /// What may come out of the decompressor, in bytes.
    pub(super) inflated: usize,
    /// How often the handler may be given more of what was read.
    helpings: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            messages: TURN_MESSAGES,
            bytes: TURN_BYTES,
            inflated: TURN_BYTES,
            helpings: TURN_HELPINGS,
        }
    }
}

impl Budget {
    pub(super) fn is_spent(&self) -> bool {
        self.messages == 0 || self.bytes == 0 || self.decodes_no_more()
    }

    /// Reports whether even what was read has to wait for the next turn.
    pub(super) fn decodes_no_more(&self) -> bool {
        self.inflated == 0 || self.helpings == 0
    }

    /// One round of a turn counts like a message.
    pub(super) fn spend_round(&mut self) {
        self.spend(1, 0);
    }

    pub(super) fn spend(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn spend_helping(&mut self) {
        self.helpings = self.helpings.saturating_sub(1);
    }
}

/// What one round has to know of the shared state.
pub(super) struct View {
    pub(super) inbox: usize,
    /// How much waits to be written, in bytes.
    pub(super) queued: usize,
    pub(super) observed: bool,
    /// Our Close was sent: messages are thrown away.
    pub(super) closing: bool,
    /// Who receives does so in another task.
    pub(super) handler_finished: bool,
    /// It is known why the session was woken: there is probably nothing to read.
    pub(super) quiet: bool,
}

impl View {
    /// What waits for the application and for the transport, with what was decoded since; `None`
    /// where messages are thrown away.
    pub(super) fn held(&self, decoded: Option<&Inbox>) -> Option<usize> {
        let decoded = decoded.map_or(0, |inbox| inbox.size);
        (!self.closing).then_some(self.inbox + self.queued + decoded)
    }

    /// The size of what is decoded before the handler is polled: little for one that takes messages
    /// as they come, so that the memory of one is there, and in the cache, for the next.
    pub(super) fn batch(&self) -> usize {
        if self.handler_finished || self.inbox > 0 {
            usize::MAX
        } else {
            BATCH
        }
    }
}

/// How a session goes on after a round.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// With another round.
    Round,
    /// With a turn to come, of which a waker is told.
    Wait,
    /// Not at all.
    Over,
}

impl Driver {
    /// Begins a round: reads what is there and delivers it. `false` where the session was aborted.
    pub(crate) fn begin_round(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
        handler_finished: bool,
    ) -> bool {
        let Some(view) = self.look(cx, turn, handler_finished) else {
            self.abort();
            return false;
        };
        if self.is_condemned() {
            self.give_way(cx);
        }
        self.receive(cx, &view, turn);
        self.take_news();
        true
    }

    /// Reports whether a handler that was polled is given more of what was read before anything is
    /// written.
    ///
    /// It is only while something can still be decoded: a transport that has ended meanwhile, or a
    /// deadline that passed, leaves bytes behind that nobody will ever take.
    pub(crate) fn gives_more(&self, turn: &mut Turn) -> bool {
        if !turn.undecoded || self.phase != Phase::Open || turn.budget.decodes_no_more() {
            return false;
        }
        turn.budget.spend_helping();
        !self.has_deferred() && self.shared.lock().outgoing.queued() < CORK
    }

    /// Ends a round, once the handler was polled: writes what is queued and keeps the deadlines.
    pub(crate) fn end_round(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
        sleep: Pin<&mut Sleep>,
        handler_finished: bool,
    ) -> Next {
        let Ok(queue) = self.take_queue(handler_finished) else {
            // Before anything is written.
            self.abort();
            return Next::Over;
        };
        let written = self.transmit(cx, queue, turn, handler_finished);
        self.poll_end(cx);
        let passed = self.poll_deadlines(cx, sleep);
        if handler_finished && self.is_ended() {
            return Next::Over;
        }
        turn.budget.spend_round();
        if turn.budget.is_spent() {
            self.count(&mut turn.left);
            cx.waker().wake_by_ref();
            return Next::Wait;
        }
        if passed || written == Written::Awaited || self.take_news() || self.has_more() {
            return Next::Round;
        }
        // What ended the turn early holds: senders wake the session since then.
        if written == Written::Last
            || self.end_turn(self.shared.lock(), handler_finished, &mut turn.left)
        {
            self.read_on(cx, turn);
            Next::Wait
        } else {
            Next::Round
        }
    }

    /// Looks what there is to do: nobody has to wake the session for what comes before the round
    /// ends. `None` where it was aborted.
    fn look(&self, cx: &Context<'_>, turn: &Turn, handler_finished: bool) -> Option<View> {
        let mut inner = self.shared.lock();
        let (quiet, before) = inner.begin_turn(cx.waker());
        let view = View {
            quiet,
            inbox: inner.inbox_size(),
            queued: inner.outgoing.queued(),
            observed: inner.observed,
            closing: inner.outgoing.close_sent(),
            handler_finished,
        };
        let aborted = inner.is_aborted();
        // What comes next is decoded into it.
        let emptied = turn.undecoded.then(|| inner.take_emptied_inbox()).flatten();
        drop(inner);
        drop(before);
        if let Some(inbox) = emptied {
            scratch::put_back_inbox(inbox);
        }
        (!aborted).then_some(view)
    }

    /// Whether there is more to do right away.
    fn has_more(&self) -> bool {
        if self.has_deferred() {
            return !self.is_patient();
        }
        self.input == Input::Ready && self.phase != Phase::Ended
    }

    /// Ends the turn, unless something has come up that no waker will tell.
    #[inline]
    pub(super) fn end_turn(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        handler_finished: bool,
        left: &mut Held,
    ) -> bool {
        let writable = !self.write_blocked && !self.write_failed && self.phase != Phase::Ended;
        let queued = inner.outgoing.queued() > 0;
        if (queued && (writable || self.close_unbounded(&inner)))
            || inner.abandoned(handler_finished).is_some()
            || self.can_resume(&inner)
            || inner.is_aborted()
            || (self.is_patient() && !inner.receiver_is_away(handler_finished))
        {
            return false;
        }
        *left = inner.held();
        let awaited = if self.input == Input::Paused || self.is_patient() {
            Awaited::Room
        } else if inner.inbox_size() >= LITTLE {
            Awaited::All
        } else {
            Awaited::Nothing
        };
        inner.end_turn(awaited);
        let inbox = inner.take_spent_inbox();
        let counted = self
            .shared
            .entry()
            .map(|entry| (entry, self.traffic(&inner)));
        drop(inner);
        if let Some((entry, traffic)) = counted {
            entry.count(traffic);
        }
        if let Some(inbox) = inbox {
            scratch::put_back_inbox(inbox);
        }
        true
    }

    /// Lets it be known what has gone over the connection so far, though the turn is not at its end.
    fn count(&self, left: &mut Held) {
        let inner = self.shared.lock();
        *left = inner.held();
        let traffic = self.traffic(&inner);
        drop(inner);
        if let Some(entry) = self.shared.entry() {
            entry.count(traffic);
        }
    }

    /// What has gone over the connection so far.
    pub(super) fn traffic(&self, inner: &Inner) -> Traffic {
        let outgoing = &inner.outgoing;
        [
            self.messages_received,
            self.bytes_received,
            outgoing.messages,
            outgoing.bytes,
        ]
    }

    /// Whether a Close came behind what is queued and the transport does not take, and has no
    /// deadline yet.
    fn close_unbounded(&self, inner: &Inner) -> bool {
        let stuck = self.write_blocked && self.phase != Phase::Ended;
        stuck && inner.outgoing.close_sent() && !self.timers.is_closing()
    }

    /// Whether decoding can go on.
    fn can_resume(&self, inner: &Inner) -> bool {
        self.input == Input::Paused
            && self.phase == Phase::Open
            && !self.has_deferred()
            && (inner.outgoing.close_sent() || (!self.is_stopped() && self.shared.has_room(inner)))
    }
}

/// What a handler is given at once that takes messages as they come, in bytes, with an allowance
/// for each message.
const BATCH: usize = 8 << 10;

/// How many messages one turn may decode, about.
const TURN_MESSAGES: usize = 128;

/// How many bytes one turn may read and write, about, and how many it may decompress.
const TURN_BYTES: usize = 512 << 10;

/// How often a handler is polled with more of one read, at most: the smallest messages of two reads
/// in batches make 170.
const TURN_HELPINGS: usize = 256;
