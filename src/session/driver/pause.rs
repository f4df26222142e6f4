//! A full inbox: reading stops, but for what HTTP/2 has to have taken.

use std::task::{Context, Poll};

use bytes::BufMut;

use super::{
    Driver, Input, Phase,
    round::{Line, Turn},
};

impl Driver {
    /// Reads on where a turn ends with a full inbox: else what comes waits for whatever wakes the
    /// session next.
    pub(super) fn read_on(&mut self, cx: &mut Context<'_>, turn: &mut Turn) {
        let full = self.input == Input::Paused && !self.waits_for_memory();
        if full && self.phase == Phase::Open && !turn.undecoded {
            if turn.line.transport.is_none() {
                // It is taken once more; where the turn is left it goes back.
                turn.line.transport = self.shared.lock_to_drive().take_multiplexed();
            }
            self.pause(cx, turn.left.weight, &mut turn.line);
        }
    }

    /// The inbox is full: reading stops.
    ///
    /// On HTTP/2 bytes are taken in for a while, lest small DATA frames pile up in the connection.
    /// `held` is what waits for the application and for the transport.
    pub(super) fn pause(&mut self, cx: &mut Context<'_>, held: usize, line: &mut Line) {
        self.timers.paused();
        self.input = Input::Paused;
        // The application is waited for, and no memory.
        if let Some(ahead) = self.go_on_reading() {
            self.cold().undecoded.put_u8(ahead);
        }
        let limit = self.config().max_read_ahead;
        while line.is_multiplexed() && self.undecoded_len() < limit && !line.budget.is_spent() {
            let held = held + self.incoming.memory() + self.undecoded_len();
            let share = self.share(held).unwrap_or(usize::MAX);
            if share == 0 {
                return;
            }
            let room = (limit - self.undecoded_len()).min(RAW_READ).min(share);
            // It is there: it has said what it is.
            let Some(transport) = &mut line.transport else {
                return;
            };
            let rest = &mut self.cold().undecoded;
            match transport.poll_read(cx, &mut rest.limit(room)) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    self.count_read_ahead(bytes);
                    self.timers.heard();
                    line.budget.spend(1, bytes);
                }
                // An end or an error is met again when reading goes on.
                Poll::Pending | Poll::Ready(_) => return,
            }
        }
    }
}

/// How much is read at once into what is kept.
const RAW_READ: usize = 16 << 10;
