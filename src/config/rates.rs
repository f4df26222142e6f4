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
/// Each is a token bucket: so much at once ([`message_burst`](Self::message_burst),
/// [`byte_burst`](Self::byte_burst)), and after it so much a second. Beyond it the connection is not
/// read until there is room again: the peer sees back pressure, the queue is the peer's, and nothing
/// is lost. Pings and pongs of the peer wait too, which is not held against it by
/// [`ping_timeout`](Self::ping_timeout), nor a frame by [`frame_timeout`](Self::frame_timeout). A
/// connection that was stopped goes on with what comes in 50 ms, so that it wakes no more than 20
/// times a second. With [`close_over_rate`](Self::close_over_rate) it is closed with code 1008
/// instead.
///
/// A peer with deadlines of its own, for what it sends or for its pings, may give up meanwhile.
///
/// Sessions keep the rates, the sans-I/O [`Connection`](crate::protocol::Connection) does not. Once
/// our Close was sent they no longer hold. A connection with a rate takes up to 500 bytes more
/// once it has received something.
impl Config {
    /// Limits the rate of received messages, per second.
    ///
    /// A message counts when it ends, whatever its size and number of fragments; control frames are
    /// none, and have [a rate of their own](Self::control_frame_rate). Up to one read of messages, of
    /// 64 KiB, is held while they wait. Zero means one. Default: `None`.
    #[must_use]
    pub fn message_rate(self, per_second: impl Into<Option<u32>>) -> Self {
        self.with_rates(|rates| rates.message_rate = per_second.into().map(|rate| rate.max(1)))
    }

    /// Sets how many messages may arrive at once before [`message_rate`](Self::message_rate) applies.
    ///
    /// Fewer than may come in 50 ms means as many as that. Default: `None`, as many as may come in a second.
    #[must_use]
    pub fn message_burst(self, messages: impl Into<Option<u32>>) -> Self {
        self.with_rates(|rates| rates.message_burst = messages.into().map(|burst| burst.max(1)))
    }

    /// Limits the rate of received bytes, per second.
    ///
    /// Bytes count as they come: compressed, with headers, control frames too, and a message in
    /// fragments with each of them. A message larger than the burst comes through at the rate, piece
    /// by piece, and has [`first_message_timeout`](Self::first_message_timeout) for that where it is the first. On HTTP/2 up to [`max_read_ahead`](Self::max_read_ahead) is taken in while reading is
    /// stopped, and held until there is room. Zero means one. Default: `None`.
    #[must_use]
    pub fn byte_rate(self, per_second: impl Into<Option<u64>>) -> Self {
        self.with_rates(|rates| rates.byte_rate = per_second.into().map(|rate| rate.max(1)))
    }

    /// Sets how many bytes may arrive at once before [`byte_rate`](Self::byte_rate) applies.
    ///
    /// Fewer than may come in 50 ms means as many as that. Default: `None`, as many as may come in a second.
    #[must_use]
    pub fn byte_burst(self, bytes: impl Into<Option<u64>>) -> Self {
        self.with_rates(|rates| rates.byte_burst = bytes.into().map(|burst| burst.max(1)))
    }

    /// Closes a connection with code 1008 that receives more than
    /// [`message_rate`](Self::message_rate) or [`byte_rate`](Self::byte_rate) allows.
    ///
    /// What came before is still delivered. Let [`byte_burst`](Self::byte_burst) be no smaller than the
    /// largest message then, with its headers: one that is sent at once is too much otherwise. Default:
    /// `false`, the connection is not read until there is room.
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
