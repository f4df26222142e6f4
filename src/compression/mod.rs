//! The settings of compression.

pub(crate) mod budget;
#[cfg(feature = "deflate")]
mod modes;
mod settings;

use self::budget::Budget;
pub use self::settings::CompressionSettings;

/// How messages are compressed if the peer supports it: permessage-deflate (RFC 7692).
///
/// Set it with [`Config::compression`](crate::Config::compression). There are two modes:
///
/// - [`shared`](Self::shared): every message is compressed by itself. Compressor and decompressor belong to
///   the thread, so an idle connection takes next to no memory for them. This is the right choice for most.
/// - [`dedicated`](Self::dedicated): messages refer to those before them (context takeover), which
///   pays if many small ones are alike. Each connection remembers what it sent and received
///   last, and a busy one with a window above 8 KiB has a compressor of its own.
///
/// ```
/// # #[cfg(feature = "deflate")]
/// # {
/// use tower_websocket::{Compression, Config};
///
/// let config = Config::default().compression(Compression::shared().level(2).threshold(1024));
/// let settings = config.settings().compression.expect("it is set");
/// assert!(!settings.context_takeover);
/// assert_eq!((settings.level, settings.threshold), (2, 1024));
///
/// let config = Config::default()
///     .compression(Compression::dedicated().max_window_bits(12).max_memory(64 << 20));
/// let settings = config.settings().compression.expect("it is set");
/// assert!(settings.context_takeover);
/// assert_eq!((settings.max_window_bits, settings.max_memory), (12, Some(64 << 20)));
/// # }
/// ```
///
/// # Secrets
///
/// The length of a compressed message leaks information about its content. If a secret and text that
/// an attacker chooses are in one message, or with [`dedicated`](Self::dedicated) in one connection,
/// the attacker can guess the secret bit by bit (BREACH). Send such messages
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
    /// Sets how hard to compress, from 1 (fast) to 9 (small).
    ///
    /// Default: 1. On JSON of 1 KiB, level 2 takes twice as long, for a fifth less output.
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

    /// Sets the length from which messages are compressed, in bytes; shorter ones are sent as they are.
    ///
    /// [`compressed`](crate::Message::compressed) and [`uncompressed`](crate::Message::uncompressed)
    /// override it for one message. Default: 512.
    #[must_use]
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Limits how far back sent messages may refer, as a power of two: 9 to 15 (512 B to 32 KiB).
    ///
    /// If the peer asks for less, it gets that. Default: 15.
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
    /// A server can ask a client for it only if the client's offer allows that. Default: 15, which asks for
    /// nothing.
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

    /// Sets how much memory a compressor takes for its work, from 1 to 9.
    ///
    /// It takes `7 * 2^(level + 6)` bytes. Default: 8.
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
    /// A window counts with a quarter more, which is what it takes: 80 KiB per connection by default.
    /// Once their windows have used up the limit, further connections open without context takeover.
    /// The compressors of connections get at most half of it. A connection without one borrows the
    /// thread's, which costs about 1 µs per KiB of window for each message. Clones of this value share
    /// the limit; values made separately do not. `None` means no limit. Default: 256 MiB. It has no
    /// effect in [`shared`](Self::shared) mode.
    #[must_use]
    pub fn max_memory(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.budget = Budget::new(bytes.into());
        self
    }
}
