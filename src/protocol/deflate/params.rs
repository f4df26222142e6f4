//! What two endpoints agree on (RFC 7692 §7.1), and what is compressed by it.

use std::num::NonZero;

use super::history::History;
use crate::{compression::Compression, protocol::role::Role};

/// The parameters of permessage-deflate, as both endpoints agreed on them (RFC 7692 §7.1).
///
/// The default is what an answer without parameters means: context takeover, and windows of 32 KiB.
///
/// ```
/// use tower_websocket::protocol::DeflateParams;
///
/// let agreed = DeflateParams { client_no_context_takeover: true, ..DeflateParams::default() };
/// assert!(!agreed.server_no_context_takeover);
/// assert_eq!((agreed.server_max_window_bits, agreed.client_max_window_bits), (15, 15));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the fields are those of the standard"
)]
pub struct DeflateParams {
    /// The server compresses each message by itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself.
    pub client_no_context_takeover: bool,
    /// The base-2 logarithm of the server's window, 8 to 15.
    pub server_max_window_bits: u8,
    /// The base-2 logarithm of the client's window, 8 to 15.
    pub client_max_window_bits: u8,
}

impl Default for DeflateParams {
    /// Returns what an answer without parameters means: context takeover, and windows of 32 KiB.
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: MAX_WINDOW_BITS,
            client_max_window_bits: MAX_WINDOW_BITS,
        }
    }
}

impl DeflateParams {
    /// How messages from `role` are compressed.
    pub(crate) fn direction(&self, role: Role) -> Direction {
        let (no_context_takeover, window_bits) = match role {
            Role::Server => (self.server_no_context_takeover, self.server_max_window_bits),
            Role::Client => (self.client_no_context_takeover, self.client_max_window_bits),
        };
        Direction {
            context_takeover: !no_context_takeover,
            window_bits: window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS),
        }
    }
}

/// How one endpoint compresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Direction {
    pub(crate) context_takeover: bool,
    pub(crate) window_bits: u8,
}

impl Direction {
    /// The largest distance a message may refer back to, in bytes.
    pub(crate) fn window(self) -> usize {
        1 << self.window_bits
    }

    /// Returns how much memory it takes at most to remember that far back, in bytes.
    pub(crate) fn memory(self) -> usize {
        History::capacity(self.window())
    }
}

/// What a compressor is made for. Messages of one shape are compressed alike.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Shape {
    pub(super) window_bits: u8,
    /// Not zero, so that a connection without a shape needs no room to say so.
    pub(super) level: NonZero<u8>,
    pub(super) memory_level: u8,
}

impl Shape {
    pub(crate) fn new(direction: Direction, settings: &Compression) -> Self {
        Self {
            window_bits: direction.window_bits,
            level: NonZero::new(settings.level).unwrap_or(NonZero::<u8>::MIN),
            memory_level: settings.memory_level,
        }
    }
}

/// The bounds of a window's size (RFC 7692 §7.1.2).
pub(crate) const MIN_WINDOW_BITS: u8 = 8;
pub(crate) const MAX_WINDOW_BITS: u8 = 15;

/// The largest window, in bytes.
pub(crate) const MAX_WINDOW: usize = 1 << MAX_WINDOW_BITS;
