//! Every setting of the crate, and every default, in one place.

mod deadlines;
#[cfg(feature = "serde")]
mod document;
mod rates;
pub(crate) mod settings;

pub(crate) use self::rates::RateLimits;

use std::{sync::Arc, time::Duration};

use crate::{compression::Compression, handshake::OriginPolicy, memory::MemoryBudget};

/// Settings of a WebSocket endpoint.
///
/// The layer, a single handshake and the sans-I/O core all take the same struct. It is plain data and
/// cheap to clone. Setters have the names of what they set, and [`settings`](Self::settings) returns all
/// values. With the feature `serde` it is read from a file, with a name and a unit for each
/// setting, [as `Deserialize` says](#impl-Deserialize<'de>-for-Config). `None` means "no limit" or "never". No
/// value makes anything panic or spin: if a setter cannot use a value, its documentation says which
/// one it uses instead. Deadlines are kept in steps of 10 ms, rounded up.
///
/// Start with the defaults, and change what the application knows better. A chat has short messages, and few
/// of them:
///
/// ```
/// use std::time::Duration;
/// use tower_websocket::{Config, OriginPolicy};
///
/// let config = Config::default()
///     .subprotocols(["chat.v1"])
///     .require_subprotocol(true)
///     .origin(OriginPolicy::same_host_or(["https://app.example.com"]))
///     .max_message_size(16 << 10)
///     .message_rate(10)
///     .message_burst(30)
///     .max_send_queue(256 << 10)
///     .max_send_messages(100)
///     .first_message_timeout(Duration::from_secs(10))
///     .idle_timeout(Duration::from_secs(15 * 60));
/// assert_eq!(config.settings().max_message_size, Some(16 << 10));
/// ```
///
/// An upload has one message, which may be larger than memory:
///
/// ```
/// use std::time::Duration;
/// use tower_websocket::Config;
///
/// let config = Config::default()
///     .streaming(true)
///     .max_stream_size(4 << 30)
///     .max_read_ahead(256 << 10)
///     .byte_rate(10 << 20)
///     .max_lifetime(Duration::from_secs(60 * 60));
/// assert_eq!(config.settings().max_stream_size, Some(4 << 30));
/// ```
///
/// A load balancer that drops idle connections after 10 seconds, and mobile clients that come and go, need
/// more pings and shorter deadlines:
///
/// ```
/// use std::time::Duration;
/// use tower_websocket::Config;
///
/// let config = Config::default()
///     .ping_interval(Duration::from_secs(7))
///     .ping_timeout(Duration::from_secs(15))
///     .write_timeout(Duration::from_secs(5))
///     .close_timeout(Duration::from_secs(2));
/// assert_eq!(config.settings().ping_interval, Some(Duration::from_secs(7)));
/// ```
///
/// # What is on its way
///
/// Written bytes wait in the buffers of both kernels, and nothing shows how many of them the peer has
/// read. A steady reader of 60 KB/s may show no progress for 20 seconds, and a ping or a Close frame
/// may be behind megabytes. So [`write_timeout`](Self::write_timeout),
/// [`ping_timeout`](Self::ping_timeout), [`close_timeout`](Self::close_timeout) and
/// [`linger`](Self::linger) are prolonged by the time that written bytes may take to the peer: a
/// second for each 14 KiB, as on a line of 128 kbit/s. A pong shows that everything written before
/// its ping has arrived. If a connection sends little, its deadlines are as they are set. Before a
/// deadline ends a connection, writing is tried once more.
///
/// At most 6 MiB count as on their way, about as much as a peer's buffers hold. So the deadlines grow
/// by 438 seconds at most, and `write_timeout`, outside HTTP/2, by 109. Over plain TCP on Linux a
/// connection that sends more than a little sets `TCP_NOTSENT_LOWAT` to 1 MiB, which reduces these to
/// 73 seconds.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) max_message_size: Option<usize>,
    pub(crate) max_frame_size: Option<usize>,
    pub(crate) max_fragments: Option<usize>,
    pub(crate) streaming: bool,
    pub(crate) max_stream_size: Option<u64>,
    pub(crate) max_read_ahead: usize,
    pub(crate) memory_budget: MemoryBudget,
    pub(crate) max_send_queue: usize,
    pub(crate) max_send_messages: Option<usize>,
    pub(crate) fragment_size: Option<usize>,
    pub(crate) compression: Option<Compression>,
    pub(crate) auto_pong: bool,
    pub(crate) control_frame_rate: Option<u32>,
    pub(crate) control_frame_burst: u32,
    pub(crate) rates: Option<Box<RateLimits>>,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Option<Duration>,
    pub(crate) frame_timeout: Option<Duration>,
    pub(crate) ready_timeout: Duration,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) close_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) first_message_timeout: Option<Duration>,
    pub(crate) subprotocols: Arc<[Box<str>]>,
    pub(crate) require_subprotocol: bool,
    pub(crate) origin: OriginPolicy,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_message_size: Some(1 << 20),
            max_frame_size: None,
            max_fragments: None,
            streaming: false,
            max_stream_size: None,
            max_read_ahead: 64 << 10,
            memory_budget: MemoryBudget::default(),
            max_send_queue: 1 << 20,
            max_send_messages: None,
            fragment_size: None,
            compression: None,
            auto_pong: true,
            control_frame_rate: Some(100),
            control_frame_burst: 200,
            rates: None,
            ping_interval: Some(Duration::from_secs(20)),
            ping_timeout: Some(Duration::from_secs(20)),
            frame_timeout: Some(Duration::from_secs(30)),
            ready_timeout: Duration::ZERO,
            write_timeout: Some(Duration::from_secs(10)),
            close_timeout: Duration::from_secs(5),
            linger: Duration::from_secs(1),
            idle_timeout: None,
            max_lifetime: None,
            first_message_timeout: None,
            subprotocols: Arc::new([]),
            require_subprotocol: false,
            origin: OriginPolicy::SameHost,
        }
    }
}

/// Limits on what is received.
impl Config {
    /// Limits the size of a received message, in bytes of payload, on the wire and decompressed.
    ///
    /// A larger one closes the connection with code 1009, as soon as a header or the decompressor shows
    /// it. Memory grows with the received bytes, never with the length that a header declares, and
    /// stays below twice this limit. In addition, a thread that sends messages of 64 KiB and more keeps
    /// the buffer of one, of at most 1 MiB, for the next message it receives.
    /// [`memory_budget`](Self::memory_budget) bounds all connections together, and has to be twice as
    /// large as the largest message to be received. Default: 1 MiB. Zero allows only empty messages.
    #[must_use]
    pub fn max_message_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_message_size = bytes.into();
        self
    }

    /// Limits the payload of one received data frame, in bytes.
    ///
    /// The header shows it: a larger frame closes the connection with code 1009. Default: `None`, which leaves
    /// the limit to [`max_message_size`](Self::max_message_size).
    #[must_use]
    pub fn max_frame_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.max_frame_size = bytes.into();
        self
    }

    /// Limits the number of fragments of one received message; empty ones count.
    ///
    /// One more closes the connection with code 1009. Default: `None`, which means `max_message_size / 64`, at
    /// least 1024, and no limit if the message size has none. Zero means one: each message is one frame.
    #[must_use]
    pub fn max_fragments(mut self, fragments: impl Into<Option<usize>>) -> Self {
        self.max_fragments = fragments.into().map(|fragments| fragments.max(1));
        self
    }

    /// Enables [`WebSocket::recv_reader`](crate::WebSocket::recv_reader), which receives messages as they arrive.
    ///
    /// A message may then be larger than memory. [`max_message_size`](Self::max_message_size) still
    /// limits messages that the application receives whole, and
    /// [`max_stream_size`](Self::max_stream_size) limits all. A message that is received as it arrives
    /// takes [`max_read_ahead`](Self::max_read_ahead) and 64 KiB of memory at most, and about 80 KiB
    /// more if it is compressed. [`max_fragments`](Self::max_fragments) has no default then. Default:
    /// `false`, so that a message is delivered when all of it has arrived.
    #[must_use]
    pub fn streaming(mut self, streaming: bool) -> Self {
        self.streaming = streaming;
        self
    }

    /// Limits the size of a message that is received as it arrives, in bytes of payload.
    ///
    /// It applies to the payload on the wire and to the decompressed one. A larger message closes the connection
    /// with code 1009. Default: `None`.
    #[must_use]
    pub fn max_stream_size(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.max_stream_size = bytes.into();
        self
    }

    /// Limits how much is decoded before the application receives it, in bytes.
    ///
    /// At least one message is decoded, whatever its size. Beyond the limit reading stops until the
    /// application receives: the peer sees backpressure, and pings wait too. It costs no memory while
    /// the application keeps up. Default: 64 KiB.
    #[must_use]
    pub fn max_read_ahead(mut self, bytes: usize) -> Self {
        self.max_read_ahead = bytes;
        self
    }

    /// Limits the memory that all connections with this budget hold together.
    ///
    /// Near the limit the largest connections are not read, and handshakes are rejected with 503. Beyond it the
    /// largest are closed with code 1013: see [`MemoryBudget`]. Sessions count; the sans-I/O
    /// [`Connection`](crate::protocol::Connection) does not. It costs nothing if connections keep up.
    /// Default: [`MemoryBudget::default`], 256 MiB for the process.
    #[must_use]
    pub fn memory_budget(mut self, budget: &MemoryBudget) -> Self {
        self.memory_budget = budget.clone();
        self
    }

    /// Limits the rate of received control frames, per second.
    ///
    /// More than that, beyond [`control_frame_burst`](Self::control_frame_burst), closes the connection with
    /// code 1008. One pong for each sent ping does not count. Zero allows the burst and nothing after
    /// it. Default: 100 per second.
    #[must_use]
    pub fn control_frame_rate(mut self, per_second: impl Into<Option<u32>>) -> Self {
        self.control_frame_rate = per_second.into();
        self
    }

    /// Sets how many control frames may arrive at once before the rate applies.
    ///
    /// A pong and a ping, or a Close, often come together. Zero refuses every control frame, also a Close,
    /// with code 1008. Default: 200.
    #[must_use]
    pub fn control_frame_burst(mut self, frames: u32) -> Self {
        self.control_frame_burst = frames;
        self
    }

    pub(crate) fn fragment_limit(&self) -> u64 {
        match (self.max_fragments, self.max_message_size) {
            (Some(fragments), _) => fragments as u64,
            (None, Some(size)) => (size as u64 / 64).max(1024),
            (None, None) => u64::MAX,
        }
    }
}

/// How messages are sent.
impl Config {
    /// Sets how many bytes may be queued before `send` waits.
    ///
    /// A message is queued whole while no more than this is queued, so the queue can exceed the limit
    /// by one message. What the session's own handler sends in one turn, and what other tasks send meanwhile, is
    /// counted separately: that can be 64 KiB more. If the value is small, a burst can fill the queue before the
    /// session can write, even if the peer keeps up. Default: 1 MiB.
    #[must_use]
    pub fn max_send_queue(mut self, bytes: usize) -> Self {
        self.max_send_queue = bytes;
        self
    }

    /// Sets how many messages may be queued before `send` waits.
    ///
    /// It applies in addition to [`max_send_queue`](Self::max_send_queue). Messages that are being written count until
    /// the whole batch is written. Zero means one. Default: `None`, so that only their bytes count.
    #[must_use]
    pub fn max_send_messages(mut self, messages: impl Into<Option<usize>>) -> Self {
        self.max_send_messages = messages.into().map(|messages| messages.max(1));
        self
    }

    /// Sends messages larger than this in fragments of this size, in bytes.
    ///
    /// No message is sent in more than 1,024 fragments, the default limit of a receiver's
    /// [`max_fragments`](Self::max_fragments): a longer one gets larger fragments. Only a
    /// [`MessageWriter`](crate::session::MessageWriter) cannot know how long its message will be. With less
    /// than 64 bytes per fragment such a receiver rejects its message of 1 MiB with code 1009. A writer keeps a
    /// fragment until it is full, so more than 1 MiB means 1 MiB for it.
    ///
    /// Default: `None`, so that each message is one frame. Zero means one.
    #[must_use]
    pub fn fragment_size(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.fragment_size = bytes.into().map(|size| size.max(1));
        self
    }

    /// Enables compression, if the peer supports it (RFC 7692).
    ///
    /// Default: `None`. See [`Compression`] for its cost, and for the danger to secrets.
    #[must_use]
    pub fn compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.compression = compression.into();
        self
    }

    /// Answers pings automatically (RFC 6455 §5.5.2).
    ///
    /// If disabled, the application receives them through `recv_event` or `into_events` and has to send
    /// the pongs itself. A ping that arrives before the first call of either is not shown, and so not
    /// answered: make that call before anything is awaited. Default: `true`.
    #[must_use]
    pub fn auto_pong(mut self, answer: bool) -> Self {
        self.auto_pong = answer;
        self
    }
}

/// The opening handshake.
impl Config {
    /// Sets the subprotocols of this endpoint, best first (RFC 6455 §1.9).
    ///
    /// A server chooses the first one that the client offers. Default: none.
    ///
    /// # Panics
    ///
    /// Panics if a name is not a token of RFC 9110 §5.6.2.
    #[must_use]
    pub fn subprotocols<P: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = P>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        for name in self.subprotocols.iter() {
            assert!(
                crate::handshake::is_token(name.as_bytes()),
                "subprotocol {name:?} is not a token"
            );
        }
        self
    }

    /// Rejects a client that offers none of [`subprotocols`](Self::subprotocols), with status 400.
    ///
    /// Default: `false`, so that the connection opens without a subprotocol.
    #[must_use]
    pub fn require_subprotocol(mut self, require: bool) -> Self {
        self.require_subprotocol = require;
        self
    }

    /// Sets which pages may open a connection (RFC 6455 §10.2).
    ///
    /// Default: [`OriginPolicy::SameHost`].
    ///
    /// ```
    /// use tower_websocket::{Config, OriginPolicy};
    ///
    /// let config = Config::default().origin(OriginPolicy::SameHostOrLocalhost); // a development server
    /// assert!(matches!(config.settings().origin, OriginPolicy::SameHostOrLocalhost));
    /// ```
    #[must_use]
    pub fn origin(mut self, policy: OriginPolicy) -> Self {
        self.origin = policy;
        self
    }
}
