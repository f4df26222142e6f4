//! One round of a session's turn: what the driver does before the handler is polled, and after.

use std::{pin::Pin, task::Context};

use super::{
    Driver, Input, Phase,
    alarm::Alarm,
    round::{Aside, Begun, Next, Snapshot, Turn},
    write::Written,
};
use crate::session::{
    loan::{self, CORK, Lends},
    shared::locked::Locked,
};

// A round, in this order:
//
// 1. Look at what is shared: from here on nobody has to wake the session.
// 2. Read and decode, before the handler: pings are answered and a Close is seen though the handler
//    may never yield to its socket.
// 3. Poll the handler (in `task`), which takes what was read from where it lies; again, with what it could not
//    take so, and while more of what was read can be given to it.
// 4. Write all that came of it at once, then bring the end and the deadlines on: what the handler has
//    just said leaves before either ends the connection.
// 5. End the turn under the lock that has seen the queue empty, or go round again.
impl Driver {
    /// Begins a round: reads what is there and delivers it.
    pub(crate) fn begin_round(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Begun {
        let snapshot = match self.snapshot(cx, turn) {
            Ok(snapshot) => snapshot,
            Err(Aside::Aborted) => {
                self.abort(&mut turn.line);
                return Begun::Over;
            }
            Err(Aside::Flushing) => return Begun::Wait,
        };
        self.count_flushed(snapshot.flushed, &mut turn.line);
        if self.is_condemned() {
            self.give_way(cx, &mut turn.line);
        }
        self.receive(cx, &snapshot, turn);
        self.take_handler_due();
        Begun::Round
    }

    /// Reports whether a handler that was polled is given more of what was read before anything is
    /// written.
    ///
    /// It is only while something can still be decoded: a transport that has ended meanwhile, or a
    /// deadline that passed, leaves bytes behind that nobody will ever take.
    #[inline]
    pub(crate) fn gives_more(&self, turn: &mut Turn) -> bool {
        // What comes while the handler is polled belongs to the same round.
        let goes_on =
            turn.lends.messages && self.input == Input::Ready && !turn.line.budget.is_spent();
        if !turn.undecoded && !goes_on || self.phase != Phase::Open {
            return false;
        }
        self.gives_more_of(turn)
    }

    fn gives_more_of(&self, turn: &mut Turn) -> bool {
        if turn.line.budget.decodes_no_more() || self.has_deferred() || turn.loan().is_corked() {
            return false;
        }
        turn.line.budget.spend_helping();
        self.shared.lock_to_drive().queued() < CORK
    }

    /// Lends the handler, which is about to be polled, what it needs to receive and send.
    #[inline]
    pub(crate) fn lend(&self, cx: &Context<'_>, turn: &mut Turn) {
        if turn.lends.any() {
            let shared = &*self.shared;
            loan::lend(
                &mut turn.loan,
                shared.address(),
                turn.lends,
                shared.setup(),
                cx,
            );
        }
    }

    /// Takes back what was lent. Reports whether the handler is to be polled once more, with what it could
    /// not take.
    #[inline]
    pub(crate) fn take_back(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> bool {
        if !turn.lends.any() {
            return false;
        }
        let returned = loan::take_back(&mut turn.loan);
        self.incoming.count_plain(returned.received);
        turn.line.budget.spend(returned.received as usize, 0);
        if !turn.lends.messages || !turn.undecoded {
            return false;
        }
        turn.undecoded = !turn.loan().buffer.is_empty();
        if !turn.undecoded || (returned.corked && !self.handler_finished) {
            return false;
        }
        self.decode_rest(cx, turn, returned.received)
    }

    /// Ends a round, once the handler was polled: writes what is queued and keeps the deadlines.
    pub(crate) fn end_round(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
        alarm: Pin<&mut Alarm>,
    ) -> Next {
        let queue = if self.has_lent_all(turn) {
            turn.loan().sent.take_queue()
        } else if let Ok(queue) = self.take_queue(turn) {
            queue
        } else {
            // Before anything is written.
            self.abort(&mut turn.line);
            return Next::Over;
        };
        let written = self.transmit(cx, queue, turn);
        self.poll_end(cx, &mut turn.line);
        let passed = self.poll_deadlines(cx, alarm, &mut turn.line);
        if self.handler_finished && self.phase == Phase::Ended {
            return Next::Over;
        }
        turn.line.budget.spend_round();
        if turn.line.budget.is_spent() {
            self.count(turn);
            cx.waker().wake_by_ref();
            return Next::Wait;
        }
        let due = passed || written == Written::HandlerWaits || turn.undecoded;
        if self.take_handler_due() || due || self.has_more() {
            return Next::Round;
        }
        // What ended the turn early holds: senders wake the session since then.
        if written == Written::TurnOver || self.end_turn(self.shared.lock_to_drive(), turn) {
            self.read_on(cx, turn);
            Next::Wait
        } else {
            Next::Round
        }
    }

    /// Reports whether all that there is to write is what the handler has sent without the lock.
    #[inline]
    fn has_lent_all(&self, turn: &Turn) -> bool {
        turn.lends.queue
            && !self.shared.is_touched()
            && !self.handler_finished
            && self.phase == Phase::Open
            && !self.write_failed
    }

    /// Looks at what is shared: nobody has to wake the session for what comes before the round ends.
    fn snapshot(&self, cx: &Context<'_>, turn: &mut Turn) -> Result<Snapshot, Aside> {
        let mut locked = self.shared.lock_to_drive();
        let (quiet, before) = locked.begin_round(cx.waker());
        if turn.line.transport.is_none() {
            match self.shared.take_transport(&mut locked) {
                Ok(transport) => turn.line.transport = transport,
                Err(_taken) => {
                    turn.left = locked.held();
                    drop(locked);
                    drop(before);
                    return Err(Aside::Flushing);
                }
            }
        }
        // A session that was woken to write is lent nothing.
        turn.lends = if quiet && locked.queued() > 0 {
            Lends::default()
        } else {
            self.lends(&locked)
        };
        self.shared.forget_touched(&mut locked);
        let unloaned = if turn.lends.queue {
            locked.begin_loan();
            None
        } else {
            locked.end_loan(
                self.setup(),
                turn.loan.as_deref_mut().map(|loan| &mut loan.sent),
            )
        };
        let flushed = self.shared.take_flushed(&mut locked);
        let snapshot = Snapshot {
            quiet,
            flushed,
            ..Snapshot::new(&locked)
        };
        let aborted = locked.is_aborted();
        // What comes next is decoded into it.
        let emptied = turn
            .undecoded
            .then(|| locked.take_emptied_inbox())
            .flatten();
        drop(locked);
        drop(before);
        drop(unloaned);
        if let Some(inbox) = emptied {
            inbox.put_back();
        }
        if aborted {
            return Err(Aside::Aborted);
        }
        Ok(snapshot)
    }

    /// Returns what the handler may be lent in this round.
    #[inline]
    fn lends(&self, locked: &Locked) -> Lends {
        if self.handler_finished || self.phase != Phase::Open || self.cold_stands_in_the_way() {
            return Lends::default();
        }
        let config = self.config();
        Lends {
            messages: self.input != Input::Paused
                && !config.streaming
                && self.incoming.is_between_messages()
                && locked.lends_messages(),
            queue: !self.write_blocked
                && !self.write_failed
                && config.max_send_messages.is_none()
                && self.shared.compressing().is_none()
                && locked.lends_queue(),
        }
    }
}
