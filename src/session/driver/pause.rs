//! A full inbox: reading stops, but for what HTTP/2 has to have taken.

use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};

use super::{
    Driver, Input, Phase,
    round::{Budget, Turn},
};
use crate::session::transport::Transport;

impl Driver {
    /// Reads on where a turn ends with a full inbox: else what comes waits for whatever wakes the
    /// session next.
    pub(super) fn read_on(&mut self, cx: &mut Context<'_>, turn: &mut Turn) {
        let full = self.input == Input::Paused && !self.waits_for_memory();
        if full && self.phase == Phase::Open && !turn.undecoded {
            self.pause(cx, turn.left.weight, &mut turn.budget);
        }
    }

    /// The inbox is full: reading stops.
    ///
    /// On HTTP/2 bytes are taken in for a while, lest small DATA frames pile up in the connection.
    /// `held` is what waits for the application and for the transport.
    pub(super) fn pause(&mut self, cx: &mut Context<'_>, held: usize, budget: &mut Budget) {
        self.timers.paused();
        self.input = Input::Paused;
        // The application is waited for, and no memory.
        if let Some(ahead) = self.go_on_reading() {
            self.cold().undecoded.put_u8(ahead);
        }
        let limit = self.config().max_read_ahead;
        while self.is_multiplexed() && self.undecoded_len() < limit && !budget.is_spent() {
            let held = held + self.incoming.memory() + self.undecoded_len();
            let share = self.share(held).unwrap_or(usize::MAX);
            if share == 0 {
                return;
            }
            let room = (limit - self.undecoded_len()).min(RAW_READ).min(share);
            // Both are there: a paused connection is open.
            let (Some(transport), rest) = self.transport_and_undecoded() else {
                return;
            };
            match transport.poll_read(cx, &mut rest.limit(room)) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    self.incoming.count(bytes);
                    self.timers.heard();
                    budget.spend(1, bytes);
                }
                // An end or an error is met again when reading goes on.
                Poll::Pending | Poll::Ready(_) => return,
            }
        }
    }

    /// Returns the transport, with where bytes go that are taken in without being decoded.
    fn transport_and_undecoded(&mut self) -> (Option<&mut Transport>, &mut BytesMut) {
        (
            self.transport.as_mut(),
            &mut self.cold.get_or_insert_default().undecoded,
        )
    }
}

/// How much is read at once into what is kept.
const RAW_READ: usize = 16 << 10;
