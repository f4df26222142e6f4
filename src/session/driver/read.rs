//! The driver's reading side.

use std::{
    io, mem,
    task::{Context, Poll},
};

use bytes::{BufMut, BytesMut};

use super::{
    Driver, Input, Phase,
    cold::Deferred,
    memory::LEAST_SHARE,
    round::{Line, Snapshot, Turn},
};
use crate::{
    protocol::Limits,
    session::{loan::Loan, shared::inbox::Inbox, transport::Transport},
};

impl Driver {
    /// Reads and decodes what is there and delivers it.
    ///
    /// Afterwards `input` tells whether to come back.
    pub(super) fn receive(&mut self, cx: &mut Context<'_>, snapshot: &Snapshot, turn: &mut Turn) {
        if self.has_deferred() {
            self.note_progress();
            if self.is_catching_up() {
                return;
            }
            self.handle_deferred(cx);
        }
        if self.phase != Phase::Open {
            // Nothing is decoded any more.
            turn.forget_undecoded();
        }
        match self.phase {
            Phase::Open if self.input == Input::Ended => {}
            Phase::Open => self.receive_open(cx, snapshot, turn),
            Phase::Ended => {}
            Phase::Flushing | Phase::ShuttingDown | Phase::Lingering => self.poll_discard(cx, turn),
        }
    }

    fn receive_open(&mut self, cx: &mut Context<'_>, snapshot: &Snapshot, turn: &mut Turn) {
        let may_pause = !snapshot.closing && !turn.undecoded;
        if may_pause && (self.is_throttled() || !self.shared.has_room_beside(snapshot.inbox)) {
            let held = snapshot.held(None).unwrap_or_default();
            return self.pause(cx, held, &mut turn.line);
        }
        if turn.lends.messages {
            return self.receive_to_lend(cx, snapshot, turn);
        }
        self.receive_and_decode(cx, snapshot, turn);
    }

    pub(super) fn receive_and_decode(
        &mut self,
        cx: &mut Context<'_>,
        snapshot: &Snapshot,
        turn: &mut Turn,
    ) {
        if turn.lends.queue {
            self.lend_nothing(turn);
        }
        turn.lends.messages = false;
        let (before, closing) = (self.incoming.bytes(), snapshot.closing);
        let mut decoded = None;
        if self.input == Input::Paused {
            self.decode_paused(&mut decoded, snapshot, turn);
        } else if turn.undecoded
            || !snapshot.quiet
            || self.has_behind()
            || self.poll_readable(cx, &turn.line)
        {
            if !turn.undecoded {
                turn.loan().clear();
                turn.loan().buffer.extend_from_slice(self.undecoded());
            }
            self.read_and_decode(cx, &mut decoded, snapshot, turn);
        }
        if let Some(decoded) = decoded {
            self.deliver(cx, decoded);
        }
        if closing {
            self.discard(self.incoming.bytes() - before, &mut turn.line);
        }
        if self.has_deferred() {
            self.note_progress();
        }
    }

    /// What was left while paused is decoded before anything is read, where it lies. Even when nothing was
    /// left, a message may have more to decompress.
    fn decode_paused(
        &mut self,
        decoded: &mut Option<Box<Inbox>>,
        snapshot: &Snapshot,
        turn: &mut Turn,
    ) {
        self.input = Input::Ready;
        let mut undecoded = self.take_undecoded();
        let held_back = self.hold_back(&mut undecoded, snapshot.closing);
        let budget = &mut turn.line.budget;
        if self.decode(&mut undecoded, decoded, snapshot, usize::MAX, budget) {
            self.input = Input::Paused;
        }
        if let Some(held_back) = held_back {
            undecoded.unsplit(held_back);
            self.throttle();
        }
        self.keep_if_open(undecoded);
    }

    /// Reads and decodes until the transport has nothing more, so that what has come is one round
    /// of the turn, until the handler is to be polled or until something has to be done first.
    fn read_and_decode(
        &mut self,
        cx: &mut Context<'_>,
        decoded: &mut Option<Box<Inbox>>,
        snapshot: &Snapshot,
        turn: &mut Turn,
    ) {
        let Turn {
            line,
            loan,
            undecoded,
            ..
        } = turn;
        let loan = loan.get_or_insert_with(Loan::take);
        let mut came = *undecoded;
        while *undecoded
            || self.poll_read(
                cx,
                &mut loan.buffer,
                snapshot.held(decoded.as_deref()),
                line,
            )
        {
            came = true;
            *undecoded = self.decode(
                &mut loan.buffer,
                decoded,
                snapshot,
                snapshot.batch(self.handler_finished),
                &mut line.budget,
            );
            if *undecoded {
                // It is all in the buffer, which the handler may empty.
                return self.keep_undecoded(BytesMut::new());
            }
            // However little each read brings, the turn has an end.
            line.budget.spend_round();
            if self.input != Input::Ready || self.has_deferred() || line.budget.is_spent() {
                break;
            }
            if !self.has_behind() && !self.poll_readable(cx, line) {
                break;
            }
            loan.make_room();
        }
        if came && (!loan.buffer.is_empty() || self.cold.is_some()) {
            self.keep_if_open(BytesMut::from(&loan.buffer[..]));
        }
        loan.buffer.clear();
    }

    /// Ends a turn: keeps what was read and not decoded, to be decoded before anything is read, and puts
    /// the transport back where that has not been done.
    #[inline]
    pub(crate) fn leave(&mut self, turn: &mut Turn) {
        if mem::take(&mut turn.undecoded) && self.phase == Phase::Open {
            self.input = Input::Paused;
            self.keep_undecoded(BytesMut::from(&turn.loan().buffer[..]));
        }
        turn.end();
        if let Some(transport) = turn.line.transport.take() {
            self.shared.lock_to_drive().put_back_transport(transport);
        }
    }

    pub(super) fn keep_if_open(&mut self, undecoded: BytesMut) {
        if self.phase == Phase::Open {
            self.keep_undecoded(undecoded);
        }
    }

    /// Reports whether there may be something to read; otherwise the transport will wake the session.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>, line: &Line) -> bool {
        let transport = line.transport.as_ref();
        if transport.is_some_and(|transport| transport.poll_readable(cx).is_pending()) {
            self.input = Input::Waiting;
            return false;
        }
        true
    }

    /// Reads once; reports whether bytes came.
    ///
    /// `held` is what waits beside what is in the buffer; `None` if messages are thrown away.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        held: Option<usize>,
        line: &mut Line,
    ) -> bool {
        if let Some(behind) = self.take_behind() {
            self.input = Input::Ended;
            self.defer(behind);
            return false;
        }
        let held = held.map(|held| held + buffer.len() + self.incoming.memory());
        let share = held.and_then(|held| self.share(held));
        if let (Some(0), Some(held @ LEAST_SHARE..)) = (share, held) {
            self.wait_for_memory(cx, held, line);
            return false;
        }
        if let Some(ahead) = self.go_on_reading() {
            buffer.put_u8(ahead);
            self.input = Input::Ready;
            return true;
        }
        let Some(transport) = &mut line.transport else {
            return false;
        };
        let mut room = share.map_or(usize::MAX, |share| share.max(LEAST_SHARE));
        if held.is_some() && self.shared.config().has_byte_rate() {
            room = room.min(self.byte_room());
        }
        if room == 0 {
            self.throttle();
            return false;
        }
        let result = self.poll_read_up_to(cx, buffer, room, transport);
        let came = self.take_read(result, held.is_some(), line);
        if came && self.has_behind() {
            // The one byte that is too much.
            buffer.truncate(buffer.len() - 1);
        }
        came
    }

    /// Reads once, and no more than there is `room` for.
    #[inline]
    fn poll_read_up_to(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        room: usize,
        transport: &mut Transport,
    ) -> Poll<io::Result<usize>> {
        if room < usize::MAX {
            return transport.poll_read(cx, &mut buffer.limit(room));
        }
        // A large payload goes straight to where it will stay.
        let direct = if buffer.is_empty() {
            let limits = Limits::new(self.config());
            self.incoming.payload_buffer(&limits)
        } else {
            None
        };
        match direct {
            Some(mut payload) => transport.poll_read(cx, &mut payload),
            None => transport.poll_read(cx, buffer),
        }
    }

    /// Notes what a read has brought; reports whether that is bytes.
    #[inline]
    fn take_read(
        &mut self,
        result: Poll<io::Result<usize>>,
        limited: bool,
        line: &mut Line,
    ) -> bool {
        match result {
            Poll::Pending => self.input = Input::Waiting,
            Poll::Ready(Ok(0)) => {
                self.input = Input::Ended;
                self.defer(Deferred::Eof);
            }
            Poll::Ready(Ok(bytes)) => {
                self.input = Input::Ready;
                self.incoming.count(bytes);
                if self.config().has_byte_rate() {
                    self.count_at_rate(bytes, limited);
                }
                self.timers.heard();
                line.budget.spend(0, bytes);
                return true;
            }
            Poll::Ready(Err(error)) => {
                self.input = Input::Ended;
                self.defer(Deferred::Failure(error));
            }
        }
        false
    }

    /// Stops reading, unless there is nothing to read: a connection that waits for its peer does not
    /// wait for memory. Not every transport can tell without a read, so one byte is read.
    #[cold]
    fn wait_for_memory(&mut self, cx: &mut Context<'_>, held: usize, line: &mut Line) {
        if self.cold().ahead.is_none() {
            let mut ahead = [0];
            let Some(transport) = &mut line.transport else {
                return;
            };
            let result = transport.poll_read(cx, &mut &mut ahead[..]);
            if !self.take_read(result, true, line) {
                // Nothing was ahead.
                self.go_on_reading();
                return;
            }
            self.cold().ahead = Some(ahead[0]);
        }
        self.stop_reading(cx, held);
    }

    /// Reads and throws away, so that the peer can end its side.
    fn poll_discard(&mut self, cx: &mut Context<'_>, turn: &mut Turn) {
        if self.input == Input::Ended {
            return;
        }
        let Turn { line, loan, .. } = turn;
        let loan = loan.get_or_insert_with(Loan::take);
        loan.clear();
        let Some(transport) = &mut line.transport else {
            return;
        };
        match transport.poll_read(cx, &mut loan.buffer) {
            Poll::Pending => self.input = Input::Waiting,
            Poll::Ready(Ok(bytes)) if bytes > 0 => {
                self.input = Input::Ready;
                line.budget.spend(0, bytes);
                self.discard(bytes as u64, line);
            }
            Poll::Ready(_) => self.input = Input::Ended,
        }
    }
}
