//! One round of a session's turn: what the driver does before the handler is polled, and after.

use std::{pin::Pin, task::Context};

use super::{
    Driver, Input, Phase,
    alarm::Alarm,
    round::{Aside, Begun, Next, Snapshot, Turn},
    write::Written,
};
use crate::{session::loan::CORK, sync};

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
            sync::yield_task(cx);
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
        let unloaned = self.begin_loan(&mut locked, quiet, turn);
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
}
