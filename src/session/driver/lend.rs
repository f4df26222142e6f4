//! What is lent to the handler in a round, and how the driver goes on where the handler stops; see
//! [`loan`](crate::session::loan).

use std::task::Context;

use bytes::BytesMut;

use super::{
    Driver, Input, Phase,
    round::{Snapshot, Turn},
};
use crate::session::{
    loan::{self, Lends, Loan},
    shared::{Wakers, locked::Locked},
};

impl Driver {
    /// Decides what the handler is lent in this round, and forgets who has had the lock. Gives those who waited for
    /// what it was lent before.
    #[inline]
    pub(super) fn begin_loan(
        &self,
        locked: &mut Locked,
        quiet: bool,
        turn: &mut Turn,
    ) -> Option<Wakers> {
        // A session that was woken to write is lent nothing.
        turn.lends = if quiet && locked.queued() > 0 {
            Lends::default()
        } else {
            self.lends(locked)
        };
        self.shared.forget_touched(locked);
        if turn.lends.queue {
            locked.begin_loan();
            return None;
        }
        let sent = turn.loan.as_deref_mut().map(|loan| &mut loan.sent);
        locked.end_loan(self.setup(), sent)
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
                && !config.has_rates()
                && self.incoming.is_between_messages()
                && locked.lends_messages(),
            queue: !self.write_blocked
                && !self.write_failed
                && config.max_send_messages.is_none()
                && self.shared.compressing().is_none()
                && locked.lends_queue(),
        }
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

    /// Reports whether all that there is to write is what the handler has sent without the lock.
    #[inline]
    pub(super) fn has_lent_all(&self, turn: &Turn) -> bool {
        turn.lends.queue
            && !self.shared.is_touched()
            && !self.handler_finished
            && self.phase == Phase::Open
            && !self.write_failed
    }

    /// Reads what is there, for the handler to take it from where it lies.
    pub(super) fn receive_to_lend(
        &mut self,
        cx: &mut Context<'_>,
        snapshot: &Snapshot,
        turn: &mut Turn,
    ) {
        if !turn.undecoded {
            let readable =
                !snapshot.quiet || self.has_behind() || self.poll_readable(cx, &turn.line);
            if !readable || !self.read_to_lend(cx, snapshot, turn) {
                // Only with a queue it is worth it.
                turn.lends.messages &= turn.lends.queue;
                return;
            }
            turn.undecoded = true;
        }
        if !turn.loan().begins_plain() {
            self.receive_and_decode(cx, snapshot, turn);
        }
    }

    /// Reads until the transport has nothing more or the buffer is full; reports whether something came.
    fn read_to_lend(&mut self, cx: &mut Context<'_>, snapshot: &Snapshot, turn: &mut Turn) -> bool {
        let Turn { line, loan, .. } = turn;
        let loan = loan.get_or_insert_with(Loan::take);
        loan.clear();
        loan.buffer.extend_from_slice(self.undecoded());
        let mut came = false;
        while self.poll_read(cx, &mut loan.buffer, snapshot.held(None), line) {
            came = true;
            line.budget.spend_round();
            let more = self.input == Input::Ready && !line.budget.is_spent() && loan.has_room();
            if !more || !self.poll_readable(cx, line) {
                break;
            }
        }
        if came && let Some(cold) = &mut self.cold {
            // It comes behind what was read.
            cold.behind = cold.deferred.take();
            if cold.behind.is_some() {
                self.input = Input::Ready;
            }
            self.keep_undecoded(BytesMut::new());
        }
        came
    }

    /// Lends the handler nothing more in this round: what it has sent so far goes first.
    pub(super) fn lend_nothing(&self, turn: &mut Turn) -> Snapshot {
        turn.lends = Lends::default();
        let mut locked = self.shared.lock_to_drive();
        let sent = turn.loan.as_deref_mut().map(|loan| &mut loan.sent);
        let flushed = locked.end_loan(self.setup(), sent);
        let snapshot = Snapshot::new(&locked);
        drop(locked);
        drop(flushed);
        snapshot
    }

    /// Decodes what the handler, which has `received` so many messages, could not take from where it lies. Reports
    /// whether there is something new for it in that.
    pub(super) fn decode_rest(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
        received: u32,
    ) -> bool {
        let snapshot = self.lend_nothing(turn);
        let Turn {
            line,
            loan,
            undecoded,
            ..
        } = turn;
        let loan = loan.get_or_insert_with(Loan::take);
        let mut decoded = None;
        let batch = snapshot.batch(self.handler_finished);
        *undecoded = self.decode(
            &mut loan.buffer,
            &mut decoded,
            &snapshot,
            batch,
            &mut line.budget,
        );
        if !*undecoded {
            if !loan.buffer.is_empty() || self.cold.is_some() {
                self.keep_if_open(BytesMut::from(&loan.buffer[..]));
            }
            loan.buffer.clear();
        }
        let news = decoded.as_ref().is_some_and(|decoded| !decoded.is_empty());
        if let Some(decoded) = decoded {
            self.deliver(cx, decoded);
        }
        if self.has_deferred() {
            self.note_progress();
            self.note_taken(received);
            return true;
        }
        news
    }
}
