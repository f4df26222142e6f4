//! The settings of compression.

use std::sync::Arc;

use crate::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How messages are compressed, where the peer takes part: permessage-deflate (RFC 7692).
///
/// Set with [`Config::compression`](crate::Config::compression). There are two modes:
///
/// - [`shared`](Self::shared): every message stands by itself. Compressor and decompressor belong to
///   the thread, so an idle connection takes next to no memory for it. The right choice for most.
/// - [`dedicated`](Self::dedicated): messages refer to those before them (context takeover), which
///   pays where many small ones are alike. Each connection remembers what was sent and received
///   last, and a busy one with a window above 8 KiB has a compressor of its own.
///
/// ```
/// # #[cfg(feature = "deflate")]
/// # {
/// use tower_websocket::{Compression, Config};
///
/// let config = Config::default().compression(Compression::shared());
/// let config = Config::default()
///     .compression(Compression::dedicated().max_window_bits(12).max_memory(64 << 20));
/// # }
/// ```
///
/// # Secrets
///
/// The length of a compressed message tells something of its content. Where a secret and text that an
/// attacker chooses are in one message, or with [`dedicated`](Self::dedicated) in one connection,
/// the secret can be guessed bit by bit (BREACH). Send such messages
/// [`uncompressed`](crate::Message::uncompressed).
#[derive(Clone, Debug)]
pub struct Compression {
    pub(crate) context_takeover: bool,
    pub(crate) level: u8,
    pub(crate) memory_level: u8,
    pub(crate) max_window_bits: u8,
    pub(crate) peer_max_window_bits: u8,
    pub(crate) threshold: usize,
    pub(crate) budget: Budget,
}

impl Compression {
    /// Sets how hard to compress, 1 (fast) to 9 (small).
    ///
    /// Default: 1. On JSON of 1 KiB level 2 takes twice as long for a fifth less.
    ///
    /// # Panics
    ///
    /// Panics outside 1 to 9.
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        assert!((1..=9).contains(&level), "compression level {level}");
        self.level = level;
        self
    }

    /// Leaves messages shorter than this as they are, in bytes.
    ///
    /// A message can be [`compressed`](crate::Message::compressed) or
    /// [`uncompressed`](crate::Message::uncompressed) against it. Default: 512.
    #[must_use]
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Limits how far back what is sent may refer, as a power of two: 9 to 15 (512 B to 32 KiB).
    ///
    /// The peer may ask for less, and gets it. Default: 15.
    ///
    /// # Panics
    ///
    /// Panics outside 9 to 15.
    #[must_use]
    pub fn max_window_bits(mut self, bits: u8) -> Self {
        assert!((9..=15).contains(&bits), "window of {bits} bits");
        self.max_window_bits = bits;
        self
    }

    /// Asks the peer to refer back no further than this, as a power of two: 9 to 15.
    ///
    /// A client can be asked only if its offer says that it can do so. Default: 15, nothing is
    /// asked.
    ///
    /// # Panics
    ///
    /// Panics outside 9 to 15.
    #[must_use]
    pub fn peer_max_window_bits(mut self, bits: u8) -> Self {
        assert!((9..=15).contains(&bits), "window of {bits} bits");
        self.peer_max_window_bits = bits;
        self
    }

    /// Sets how much memory a compressor takes for its work, 1 to 9.
    ///
    /// `7 * 2^(level + 6)` bytes of it. Default: 8.
    ///
    /// # Panics
    ///
    /// Panics outside 1 to 9.
    #[must_use]
    pub fn memory_level(mut self, level: u8) -> Self {
        assert!((1..=9).contains(&level), "memory level {level}");
        self.memory_level = level;
        self
    }

    /// Limits the memory of all connections with context takeover together, in bytes.
    ///
    /// Once their windows have taken it up, further connections are opened without context
    /// takeover. Compressors of their own get at most half of it: a connection without one borrows
    /// the thread's, which costs about 1 µs per KiB of window for each message. Clones of this value
    /// count together, values made one by one do not. `None` means no limit. Default: 256 MiB.
    /// Without effect in [`shared`](Self::shared) mode.
    #[must_use]
    pub fn max_memory(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.budget = Budget::new(bytes.into());
        self
    }
}

/// The memory that connections may take together.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(limit: Option<usize>) -> Self {
        Self {
            limit: limit.unwrap_or(usize::MAX),
            taken: Arc::default(),
        }
    }

    /// Takes memory for what every connection has to have.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        self.reserve_below(bytes, self.limit)
    }

    /// Takes memory for what only makes things faster: half of it all is kept for the rest.
    pub(crate) fn reserve_luxury(&self, bytes: usize) -> Option<Reservation> {
        self.reserve_below(bytes, self.limit / 2)
    }

    fn reserve_below(&self, bytes: usize, limit: usize) -> Option<Reservation> {
        let reserve = |taken: usize| {
            taken
                .checked_add(bytes)
                .filter(|&together| together <= limit)
        };
        // Nothing but the number itself is read by others.
        self.taken.fetch_update(Relaxed, Relaxed, reserve).ok()?;
        Some(Reservation {
            taken: self.taken.clone(),
            bytes,
        })
    }
}

/// Memory that was taken from a [`Budget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_given_up_to_its_limit_and_comes_back() {
        let budget = Budget::new(Some(100));
        let first = budget.reserve(60);
        assert!(first.is_some());
        assert!(budget.reserve(41).is_none());
        let second = budget.reserve(40);
        assert!(second.is_some() && budget.reserve(1).is_none());
        drop(first);
        assert!(budget.reserve(60).is_some());
    }

    #[test]
    fn luxury_leaves_half_of_the_budget() {
        let budget = Budget::new(Some(100));
        let _half = budget.reserve_luxury(50).expect("half of it is free");
        assert!(budget.reserve_luxury(1).is_none());
        assert!(budget.reserve(50).is_some());
    }

    #[test]
    fn budget_without_limit_does_not_overflow() {
        let budget = Budget::new(None);
        let _all = budget.reserve(usize::MAX).expect("there is no limit");
        assert!(budget.reserve(1).is_none());
    }

    #[test]
    fn clones_count_together() {
        let budget = Budget::new(Some(10));
        let other = budget.clone();
        let _taken = other.reserve(10).expect("it is all free");
        assert!(budget.reserve(1).is_none());
        drop(other);
    }
}
