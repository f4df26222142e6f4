//! What was received and not decoded, and the rest of what an idle connection has no memory for.

use std::mem;

use bytes::BytesMut;

use super::{
    Driver,
    cold::{Cold, put_back_cold, take_cold},
};

impl Driver {
    /// Returns what an idle connection does not have, to put something in.
    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_with(take_cold)
    }

    /// Reports whether something is there for which all has to go through the lock.
    #[inline]
    pub(super) fn cold_stands_in_the_way(&self) -> bool {
        let only_bytes = |cold: &Cold| cold.is_bytes_alone();
        !self.cold.as_deref().is_none_or(only_bytes)
    }

    /// Returns how much was received and not decoded, in bytes.
    pub(super) fn undecoded_len(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.undecoded.len())
    }

    pub(super) fn undecoded(&self) -> &[u8] {
        self.cold.as_ref().map_or(&[], |cold| &cold.undecoded)
    }

    /// Takes what was not decoded, to decode it in place.
    pub(super) fn take_undecoded(&mut self) -> BytesMut {
        self.cold
            .as_mut()
            .map(|cold| mem::take(&mut cold.undecoded))
            .unwrap_or_default()
    }

    /// Keeps what was not decoded, and no memory where that is nothing.
    pub(super) fn keep_undecoded(&mut self, undecoded: BytesMut) {
        if !undecoded.is_empty() {
            self.cold().undecoded = undecoded;
        } else if let Some(cold) = &mut self.cold {
            cold.undecoded = BytesMut::new();
            self.forget_cold();
        }
    }

    /// Keeps no memory for what is not there.
    pub(super) fn forget_cold(&mut self) {
        let forgotten = self.cold.take_if(|cold| cold.is_spent());
        if let Some(cold) = forgotten {
            put_back_cold(cold);
        }
    }
}
