//! How fast the peer may send: the rates of messages and bytes, and waiting for room in them.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::{
    Driver, Input,
    cold::{Cold, Deferred, take_cold},
    round::{Budget, Snapshot},
};
use crate::{
    config::Config,
    protocol::{ProtocolError, Rates},
    session::shared::inbox::Inbox,
};

/// How many messages may be decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    /// Of all that the connection has received.
    most: u64,
    /// One more closes the connection, with this rate; else it waits.
    closes: Option<u32>,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            most: u64::MAX,
            closes: None,
        }
    }
}

impl Quota {
    /// Reports whether what comes next has to wait, once so many `messages` were received.
    #[inline]
    pub(super) fn is_used_up(self, messages: u64) -> bool {
        messages >= self.most && self.closes.is_none()
    }

    /// Reports whether so many `messages` are a reason to close.
    #[inline]
    pub(super) fn is_exceeded(self, messages: u64) -> bool {
        messages > self.most
    }

    pub(super) fn flood(self) -> ProtocolError {
        let rate = self.closes.unwrap_or_default();
        ProtocolError::MessageFlood { rate }
    }
}

impl Driver {
    /// Counts bytes that were read against their rate; where they are `limited`, too many close the connection.
    #[cold]
    pub(super) fn count_at_rate(&mut self, bytes: usize, limited: bool) {
        let within = self.pace(|rates, age, config| rates.receive_bytes(bytes, age, config));
        if let (Err(flood), true) = (within, limited) {
            // What came before is decoded first.
            self.cold().behind = Some(Deferred::Violation(flood));
        }
    }

    /// Counts bytes that were read while the connection is not to be read.
    pub(super) fn count_read_ahead(&mut self, bytes: usize) {
        self.incoming.count(bytes);
        if self.config().has_byte_rate() {
            self.cold().pace.get_or_insert_default().ahead += bytes;
        }
    }

    /// Takes off what was read ahead and is too much for now; nothing once our Close was sent.
    #[inline]
    pub(super) fn hold_back(
        &mut self,
        undecoded: &mut BytesMut,
        closing: bool,
    ) -> Option<BytesMut> {
        if !self.config().has_byte_rate() {
            return None;
        }
        let ahead = self.pace_ahead().min(undecoded.len());
        if ahead == 0 {
            return None;
        }
        let room = if closing {
            usize::MAX
        } else {
            self.byte_room()
        };
        let taken = ahead.min(room);
        let flood = self.pace(|rates, age, config| rates.receive_bytes(taken, age, config));
        if let (Err(flood), false) = (flood, closing) {
            // What came before is decoded first; what is too much, and behind it, never.
            undecoded.truncate(undecoded.len() - (ahead - taken) - 1);
            let cold = self.cold();
            cold.behind = Some(Deferred::Violation(flood));
            cold.pace.get_or_insert_default().ahead = 0;
            return None;
        }
        self.cold().pace.get_or_insert_default().ahead = ahead - taken;
        let held_back = undecoded.split_off(undecoded.len() - (ahead - taken));
        (!held_back.is_empty()).then_some(held_back)
    }

    fn pace_ahead(&self) -> usize {
        let pace = self.cold.as_ref().and_then(|cold| cold.pace.as_ref());
        pace.map_or(0, |pace| pace.ahead)
    }

    /// Returns how many bytes may be read now.
    #[cold]
    pub(super) fn byte_room(&mut self) -> usize {
        let room = self.pace(Rates::byte_room).unwrap_or(u64::MAX);
        if self.config().closes_over_rate() {
            // One byte more than there may be shows that there is more.
            return usize::try_from(room.saturating_add(1)).unwrap_or(usize::MAX);
        }
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Reports whether messages are counted against a rate; not once our Close was sent.
    #[inline]
    pub(super) fn has_message_rate(&self, snapshot: &Snapshot) -> bool {
        self.config().has_message_rate() && !snapshot.closing
    }

    /// Decodes as [`decode_within`](Self::decode_within) does, with what is left of the rate.
    #[cold]
    pub(super) fn decode_at_rate(
        &mut self,
        buffer: &mut BytesMut,
        decoded: &mut Option<Box<Inbox>>,
        snapshot: &Snapshot,
        batch: usize,
        budget: &mut Budget,
    ) -> bool {
        let before = self.incoming.messages();
        let room = self.pace(Rates::message_room).unwrap_or(u64::MAX);
        let config = self.config();
        let rates = config.rates.as_deref().filter(|rates| rates.close);
        let closes = rates.and_then(|rates| rates.message_rate);
        let most = before.saturating_add(room);
        let quota = Quota { most, closes };
        let more = self.decode_within(buffer, decoded, snapshot, batch, budget, quota);
        let messages = self.incoming.messages();
        self.pace(|rates, age, config| rates.receive_messages(messages - before, age, config));
        if self.input == Input::Paused && quota.is_used_up(messages) {
            self.throttle();
        }
        more
    }

    /// Stops reading and decoding until there is room in the rates again.
    #[cold]
    pub(super) fn throttle(&mut self) {
        self.input = Input::Paused;
        self.timers.paused();
        let now = Self::now();
        let wait = self.pace(Rates::wait).min(LONGEST);
        let pace = self.cold().pace.get_or_insert_default();
        pace.until = now.checked_add(wait);
        self.timers.have_changed();
    }

    /// Reports whether nothing is read for now, because there was too much.
    #[inline]
    pub(super) fn is_throttled(&self) -> bool {
        self.throttled_until().is_some()
    }

    #[inline]
    pub(super) fn throttled_until(&self) -> Option<Instant> {
        let pace = |cold: &Cold| cold.pace.as_ref()?.until;
        self.cold.as_deref().and_then(pace)
    }

    /// Reports whether there is room again in the rates, so that reading goes on.
    pub(super) fn is_throttle_over(&mut self) -> bool {
        let Some(until) = self.throttled_until() else {
            return false;
        };
        let over = until <= Self::now();
        if over && let Some(pace) = &mut self.cold().pace {
            pace.until = None;
        }
        over
    }

    /// Looks at the rates at this time, or changes them.
    fn pace<T>(&mut self, change: impl FnOnce(&mut Rates, Duration, &Config) -> T) -> T {
        let age = self.timers.age(Self::now());
        let cold = self.cold.get_or_insert_with(take_cold);
        let pace = cold.pace.get_or_insert_default();
        change(&mut pace.rates, age, self.shared.config())
    }
}

/// How long it is waited at most until it is looked again: rates of next to nothing may take longer
/// than there are instants.
const LONGEST: Duration = Duration::from_hours(1);
