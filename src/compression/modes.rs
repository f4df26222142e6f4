//! The two modes: without the feature `deflate` no `Compression` can be made.

use super::{Compression, budget::Budget};

impl Compression {
    /// Compresses each message by itself: no context takeover, in either direction.
    ///
    /// An idle connection takes 64 bytes for it. Each thread that compresses has a compressor of
    /// about 376 KiB and a decompressor of 47 KiB, made on first use. A message that arrives in
    /// pieces holds a decompressor until it is whole.
    #[must_use]
    pub fn shared() -> Self {
        Self {
            context_takeover: false,
            level: 1,
            memory_level: 8,
            max_window_bits: 15,
            peer_max_window_bits: 15,
            threshold: 512,
            budget: Budget::new(None),
        }
    }

    /// Allows messages to refer to those before them: context takeover, if the peer agrees.
    ///
    /// A connection remembers up to `2^max_window_bits` bytes of what it has sent compressed, and
    /// `2^peer_max_window_bits` of what it has received. A quarter is added, so that not every
    /// message moves all of it. By default that makes 80 KiB, allocated as needed.
    ///
    /// The thread's compressor has to be told what was sent before, which takes about 1 µs per KiB.
    /// So a connection gets a compressor of its own once that is more than 8 KiB, as long as
    /// [`max_memory`](Self::max_memory) allows it. It takes 136 KiB and
    /// `4 * 2^max_window_bits + 7 * 2^(memory_level + 6)` bytes, 376 KiB by default. The connection
    /// returns it after a whole [`ping_interval`](crate::Config::ping_interval) in which it has compressed nothing.
    #[must_use]
    pub fn dedicated() -> Self {
        Self {
            context_takeover: true,
            budget: Budget::new(Some(256 << 20)),
            ..Self::shared()
        }
    }
}
