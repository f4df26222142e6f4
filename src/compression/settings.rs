//! What settings of compression say.

use super::Compression;

/// The values of a [`Compression`], to be read: a field for each setter, with its name.
///
/// ```
/// # #[cfg(feature = "deflate")]
/// # {
/// use tower_websocket::Compression;
///
/// let settings = Compression::dedicated().peer_max_window_bits(10).settings();
/// assert_eq!((settings.max_window_bits, settings.peer_max_window_bits), (15, 10));
/// assert_eq!((settings.level, settings.memory_level), (1, 8));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CompressionSettings {
    /// Whether the mode is `dedicated`, in which messages refer to those before them.
    pub context_takeover: bool,
    /// [`Compression::level`].
    pub level: u8,
    /// In bytes: [`Compression::threshold`].
    pub threshold: usize,
    /// [`Compression::max_window_bits`].
    pub max_window_bits: u8,
    /// [`Compression::peer_max_window_bits`].
    pub peer_max_window_bits: u8,
    /// [`Compression::memory_level`].
    pub memory_level: u8,
    /// In bytes: [`Compression::max_memory`].
    pub max_memory: Option<usize>,
}

impl Compression {
    /// Returns what is set, and the defaults for everything else.
    #[must_use]
    pub fn settings(&self) -> CompressionSettings {
        let Self {
            context_takeover,
            level,
            memory_level,
            max_window_bits,
            peer_max_window_bits,
            threshold,
            budget,
        } = self;
        CompressionSettings {
            context_takeover: *context_takeover,
            level: *level,
            threshold: *threshold,
            max_window_bits: *max_window_bits,
            peer_max_window_bits: *peer_max_window_bits,
            memory_level: *memory_level,
            max_memory: budget.limit(),
        }
    }
}
