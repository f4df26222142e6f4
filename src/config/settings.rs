//! What a configuration says.

use std::time::Duration;

use super::{Config, RateLimits};
use crate::{
    compression::{Compression, CompressionSettings},
    handshake::OriginPolicy,
    memory::MemoryBudget,
};

/// The values of a [`Config`], to be read: a field for each setter, with its name.
///
/// They are the values in use: if a setter replaces the value that it gets, the replacement is here. The setter
/// says what `None` means.
///
/// ```
/// use std::time::Duration;
/// use tower_websocket::Config;
///
/// let config = Config::default().ping_interval(Duration::from_secs(30));
/// let settings = config.settings();
/// assert_eq!(settings.ping_interval, Some(Duration::from_secs(30)));
/// assert_eq!(settings.max_message_size, Some(1 << 20));
/// ```
///
/// Without any setter these are the defaults:
///
/// ```
/// use std::time::Duration;
/// use tower_websocket::Config;
///
/// let seconds = |seconds| Some(Duration::from_secs(seconds));
/// let config = Config::default();
/// let settings = config.settings();
///
/// // What may be received.
/// assert_eq!((settings.max_message_size, settings.max_read_ahead), (Some(1 << 20), 64 << 10));
/// assert_eq!((settings.max_frame_size, settings.max_fragments), (None, None));
/// assert_eq!((settings.streaming, settings.max_stream_size), (false, None));
/// assert_eq!(settings.memory_budget.limit(), Some(256 << 20));
/// assert_eq!((settings.control_frame_rate, settings.control_frame_burst), (Some(100), 200));
/// assert_eq!((settings.message_rate, settings.byte_rate, settings.close_over_rate), (None, None, false));
///
/// // What is sent.
/// assert_eq!((settings.max_send_queue, settings.max_send_messages), (1 << 20, None));
/// assert!(settings.fragment_size.is_none() && settings.compression.is_none() && settings.auto_pong);
///
/// // Deadlines.
/// assert_eq!((settings.ping_interval, settings.ping_timeout), (seconds(20), seconds(20)));
/// assert_eq!((settings.frame_timeout, settings.write_timeout), (seconds(30), seconds(10)));
/// assert_eq!((Some(settings.close_timeout), Some(settings.linger)), (seconds(5), seconds(1)));
/// assert_eq!((settings.idle_timeout, settings.max_lifetime), (None, None));
/// assert_eq!((settings.first_message_timeout, settings.ready_timeout), (None, Duration::ZERO));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Settings<'a> {
    /// In bytes: [`Config::max_message_size`].
    pub max_message_size: Option<usize>,
    /// In bytes: [`Config::max_frame_size`].
    pub max_frame_size: Option<usize>,
    /// [`Config::max_fragments`].
    pub max_fragments: Option<usize>,
    /// [`Config::streaming`].
    pub streaming: bool,
    /// In bytes: [`Config::max_stream_size`].
    pub max_stream_size: Option<u64>,
    /// In bytes: [`Config::max_read_ahead`].
    pub max_read_ahead: usize,
    /// [`Config::memory_budget`]; its limit is [`MemoryBudget::limit`].
    pub memory_budget: &'a MemoryBudget,
    /// In bytes: [`Config::max_send_queue`].
    pub max_send_queue: usize,
    /// [`Config::max_send_messages`].
    pub max_send_messages: Option<usize>,
    /// In bytes: [`Config::fragment_size`].
    pub fragment_size: Option<usize>,
    /// [`Config::compression`].
    pub compression: Option<CompressionSettings>,
    /// [`Config::auto_pong`].
    pub auto_pong: bool,
    /// Per second: [`Config::control_frame_rate`].
    pub control_frame_rate: Option<u32>,
    /// [`Config::control_frame_burst`].
    pub control_frame_burst: u32,
    /// Per second: [`Config::message_rate`].
    pub message_rate: Option<u32>,
    /// [`Config::message_burst`].
    pub message_burst: Option<u32>,
    /// Bytes per second: [`Config::byte_rate`].
    pub byte_rate: Option<u64>,
    /// In bytes: [`Config::byte_burst`].
    pub byte_burst: Option<u64>,
    /// [`Config::close_over_rate`].
    pub close_over_rate: bool,
    /// [`Config::ping_interval`].
    pub ping_interval: Option<Duration>,
    /// [`Config::ping_timeout`].
    pub ping_timeout: Option<Duration>,
    /// [`Config::frame_timeout`].
    pub frame_timeout: Option<Duration>,
    /// [`Config::ready_timeout`].
    pub ready_timeout: Duration,
    /// [`Config::write_timeout`].
    pub write_timeout: Option<Duration>,
    /// [`Config::close_timeout`].
    pub close_timeout: Duration,
    /// [`Config::linger`].
    pub linger: Duration,
    /// [`Config::idle_timeout`].
    pub idle_timeout: Option<Duration>,
    /// [`Config::max_lifetime`].
    pub max_lifetime: Option<Duration>,
    /// [`Config::first_message_timeout`].
    pub first_message_timeout: Option<Duration>,
    /// [`Config::subprotocols`].
    pub subprotocols: &'a [Box<str>],
    /// [`Config::require_subprotocol`].
    pub require_subprotocol: bool,
    /// [`Config::origin`].
    pub origin: &'a OriginPolicy,
}

impl Config {
    /// Returns what is set, and the defaults for everything else.
    #[must_use]
    pub fn settings(&self) -> Settings<'_> {
        // Every field is named: one that cannot be read does not compile.
        let Self {
            max_message_size,
            max_frame_size,
            max_fragments,
            streaming,
            max_stream_size,
            max_read_ahead,
            memory_budget,
            max_send_queue,
            max_send_messages,
            fragment_size,
            compression,
            auto_pong,
            control_frame_rate,
            control_frame_burst,
            rates,
            ping_interval,
            ping_timeout,
            frame_timeout,
            ready_timeout,
            write_timeout,
            close_timeout,
            linger,
            idle_timeout,
            max_lifetime,
            first_message_timeout,
            subprotocols,
            require_subprotocol,
            origin,
        } = self;
        let RateLimits {
            message_rate,
            message_burst,
            byte_rate,
            byte_burst,
            close,
        } = rates.as_deref().unwrap_or(&RateLimits::NONE);
        Settings {
            max_message_size: *max_message_size,
            max_frame_size: *max_frame_size,
            max_fragments: *max_fragments,
            streaming: *streaming,
            max_stream_size: *max_stream_size,
            max_read_ahead: *max_read_ahead,
            memory_budget,
            max_send_queue: *max_send_queue,
            max_send_messages: *max_send_messages,
            fragment_size: *fragment_size,
            compression: compression.as_ref().map(Compression::settings),
            auto_pong: *auto_pong,
            control_frame_rate: *control_frame_rate,
            control_frame_burst: *control_frame_burst,
            message_rate: *message_rate,
            message_burst: *message_burst,
            byte_rate: *byte_rate,
            byte_burst: *byte_burst,
            close_over_rate: *close,
            ping_interval: *ping_interval,
            ping_timeout: *ping_timeout,
            frame_timeout: *frame_timeout,
            ready_timeout: *ready_timeout,
            write_timeout: *write_timeout,
            close_timeout: *close_timeout,
            linger: *linger,
            idle_timeout: *idle_timeout,
            max_lifetime: *max_lifetime,
            first_message_timeout: *first_message_timeout,
            subprotocols,
            require_subprotocol: *require_subprotocol,
            origin,
        }
    }
}
