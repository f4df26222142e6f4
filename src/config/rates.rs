//! How much a peer may send in a second.

use super::Config;

/// The rates of what is received. Few endpoints have any, so that they are boxed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RateLimits {
    pub(crate) message_rate: Option<u32>,
    pub(crate) message_burst: Option<u32>,
    pub(crate) byte_rate: Option<u64>,
    pub(crate) byte_burst: Option<u64>,
    /// What is too much closes the connection.
    pub(crate) close: bool,
}

impl RateLimits {
    pub(super) const NONE: Self = Self {
        message_rate: None,
        message_burst: None,
        byte_rate: None,
        byte_burst: None,
        close: false,
    };
}

/// Rates of what is received.
///
/// Each is a token bucket: a number at once ([`message_burst`](Self::message_burst),
/// [`byte_burst`](Self::byte_burst)), and then a number per second. Beyond the rate the connection is not
/// read until there is room again: the peer sees backpressure, the messages wait on its side, and nothing
/// is lost. Pings and pongs of the peer wait too: meanwhile neither
/// [`ping_timeout`](Self::ping_timeout) nor [`frame_timeout`](Self::frame_timeout) runs. A
/// stopped connection is read again once there is room for what the rate allows in 50 ms, so that it wakes no more
/// than 20 times a second. With [`close_over_rate`](Self::close_over_rate) it is closed with code 1008
/// instead.
///
/// A peer with deadlines of its own, for what it sends or for its pings, may give up meanwhile.
///
/// Sessions apply the rates; the sans-I/O [`Connection`](crate::protocol::Connection) does not. They no longer
/// apply once our Close was sent. A connection with a rate takes up to 500 bytes more
/// once it has received something.
///
/// ```
/// use tower_websocket::Config;
///
/// // Ten messages per second, thirty at once; a client that sends more waits.
/// let config = Config::default().message_rate(10).message_burst(30);
/// // One MiB per second; a peer that sends more is closed.
/// let config = config.byte_rate(1 << 20).byte_burst(2 << 20).close_over_rate(true);
/// assert_eq!((config.settings().message_burst, config.settings().byte_burst), (Some(30), Some(2 << 20)));
/// ```
impl Config {
    /// Limits the rate of received messages, per second.
    ///
    /// A message counts when it ends, whatever its size and number of fragments. Control frames do not count:
    /// they have [a rate of their own](Self::control_frame_rate). Beyond the rate messages wait, and up to one
    /// read of them, of 64 KiB, is held meanwhile. Zero means one. Default: `None`.
    #[must_use]
    pub fn message_rate(self, per_second: impl Into<Option<u32>>) -> Self {
        self.with_rates(|rates| rates.message_rate = per_second.into().map(|rate| rate.max(1)))
    }

    /// Sets how many messages may arrive at once before [`message_rate`](Self::message_rate) applies.
    ///
    /// If the value is less than what the rate allows in 50 ms, that is used instead. Default: `None`, as many as
    /// the rate allows in a second.
    #[must_use]
    pub fn message_burst(self, messages: impl Into<Option<u32>>) -> Self {
        self.with_rates(|rates| rates.message_burst = messages.into().map(|burst| burst.max(1)))
    }

    /// Limits the rate of received bytes, per second.
    ///
    /// Bytes count as they arrive: compressed, with headers, control frames too, and a message in
    /// fragments with each of them. A message larger than the burst is received at the rate, piece
    /// by piece; if it is the first one, it has [`first_message_timeout`](Self::first_message_timeout) for that.
    /// On HTTP/2 up to [`max_read_ahead`](Self::max_read_ahead) is taken in while reading is
    /// stopped, and held until there is room. Zero means one. Default: `None`.
    #[must_use]
    pub fn byte_rate(self, per_second: impl Into<Option<u64>>) -> Self {
        self.with_rates(|rates| rates.byte_rate = per_second.into().map(|rate| rate.max(1)))
    }

    /// Sets how many bytes may arrive at once before [`byte_rate`](Self::byte_rate) applies.
    ///
    /// If the value is less than what the rate allows in 50 ms, that is used instead. Default: `None`, as many as
    /// the rate allows in a second.
    #[must_use]
    pub fn byte_burst(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with_rates(|rates| rates.byte_burst = bytes.into().map(|burst| burst.max(1)))
    }

    /// Closes a connection with code 1008 that exceeds a rate, instead of reading it later.
    ///
    /// The rates are [`message_rate`](Self::message_rate) and [`byte_rate`](Self::byte_rate). What arrived before is
    /// still delivered. Make [`byte_burst`](Self::byte_burst) no smaller than the
    /// largest message, with its headers: otherwise a message that is sent at once exceeds the rate. Default:
    /// `false`, so that the connection is not read until there is room.
    #[must_use]
    pub fn close_over_rate(self, close: bool) -> Self {
        self.with_rates(|rates| rates.close = close)
    }

    fn with_rates(mut self, set: impl FnOnce(&mut RateLimits)) -> Self {
        let mut rates = self
            .rates
            .take()
            .unwrap_or_else(|| Box::new(RateLimits::NONE));
        set(&mut rates);
        self.rates = (*rates != RateLimits::NONE).then_some(rates);
        self
    }
}

/// What is asked of the rates.
#[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions ask"))]
impl Config {
    /// Reports whether there is a rate.
    #[inline]
    pub(crate) fn has_rates(&self) -> bool {
        self.has_message_rate() || self.has_byte_rate()
    }

    #[inline]
    pub(crate) fn has_message_rate(&self) -> bool {
        let rate = |rates: &RateLimits| rates.message_rate.is_some();
        self.rates.as_deref().is_some_and(rate)
    }

    #[inline]
    pub(crate) fn has_byte_rate(&self) -> bool {
        let rate = |rates: &RateLimits| rates.byte_rate.is_some();
        self.rates.as_deref().is_some_and(rate)
    }

    /// Reports whether what is too much closes the connection.
    pub(crate) fn closes_over_rate(&self) -> bool {
        self.rates.as_ref().is_some_and(|rates| rates.close)
    }
}
