//! How long things may take.

use std::time::Duration;

use super::Config;

/// Deadlines.
impl Config {
    /// Sets how often a ping is sent, ±10 % at random.
    ///
    /// Its payload is eight random bytes, and its pong is timed: see [`WebSocket::rtt`](crate::WebSocket::rtt).
    /// Less than 20 ms means 20 ms: by default, peers accept no more than 100 control frames per
    /// second. Default: 20 seconds.
    #[must_use]
    pub fn ping_interval(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.ping_interval = interval.into().map(|interval| interval.max(MIN_INTERVAL));
        self
    }

    /// Sets how long a peer may stay silent after a ping was written.
    ///
    /// Any received byte ends the silence. Otherwise the connection ends with an error that
    /// [`is_timeout`](crate::Error::is_timeout). The time does not run while reading is stopped by
    /// [`max_read_ahead`](Self::max_read_ahead). It is prolonged by
    /// [what is on its way](Config#what-is-on-its-way) before the ping. Less than 10 ms means 10 ms.
    /// Default: 20 seconds.
    #[must_use]
    pub fn ping_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.ping_timeout = at_least(timeout.into());
        self
    }

    /// Limits the time from the first to the last byte of one received frame.
    ///
    /// Each 16 KiB received adds a second, so that large frames may arrive over slow lines. A slower frame
    /// closes the connection with code 1008. Less than 10 ms means 10 ms. Default: 30 seconds.
    #[must_use]
    pub fn frame_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.frame_timeout = at_least(timeout.into());
        self
    }

    /// Sets how long a handshake waits for the route service to be ready.
    ///
    /// If it is not ready by then, the answer is 503. Default: zero, which polls it once.
    #[must_use]
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout;
        self
    }

    /// Limits the time without progress while something waits to be written.
    ///
    /// It also limits the time of an upgrade after the response to its handshake. On HTTP/2 the progress is
    /// what the HTTP server accepts, within the stream's flow-control window; hyper keeps that until
    /// the peer takes it or the HTTP/2 connection ends. The time is prolonged by
    /// [what is on its way](Config#what-is-on-its-way). Less than 10 ms means 10 ms. Default: 10
    /// seconds.
    #[must_use]
    pub fn write_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.write_timeout = at_least(timeout.into());
        self
    }

    /// Limits the wait for the peer's Close frame after ours, and for its end of an HTTP/2 stream.
    ///
    /// Messages that arrive after our Close frame are discarded. A peer that is still sending, at 14
    /// KiB/s at least, has up to six times as long, for up to 128 MiB: TCP resets a connection that is
    /// dropped with unread bytes, and the peer might never see the close code. The time is prolonged by
    /// [what is on its way](Config#what-is-on-its-way) before the Close frame. Zero waits only for
    /// that. Default: 5 seconds.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Sets how long an HTTP/1.1 connection is drained after the closing handshake.
    ///
    /// Reading until the peer ends keeps a reset from destroying the last bytes sent. A server that has
    /// the peer's Close frame, and nothing unread behind it, does not wait. A peer that is still
    /// sending has longer, as [`close_timeout`](Self::close_timeout) says. So has a peer to which much
    /// is [on its way](Config#what-is-on-its-way). Zero waits only for that. Default: 1 second.
    #[must_use]
    pub fn linger(mut self, timeout: Duration) -> Self {
        self.linger = timeout;
        self
    }

    /// Closes a connection on which no message was received or sent for this long (code 1001).
    ///
    /// It is measured lazily: the connection closes after one to two times this long. Zero closes at once. Default:
    /// `None`.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// Closes a connection this long after its handshake (code 1001).
    ///
    /// Zero closes at once. Default: `None`.
    #[must_use]
    pub fn max_lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.max_lifetime = lifetime.into();
        self
    }

    /// Closes a connection if its first message takes longer than this (code 1008).
    ///
    /// Zero closes at once. Default: `None`.
    #[must_use]
    pub fn first_message_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.first_message_timeout = timeout.into();
        self
    }
}

/// Rounds a deadline up to the step in which deadlines are kept.
fn at_least(timeout: Option<Duration>) -> Option<Duration> {
    timeout.map(|timeout| timeout.max(Duration::from_millis(10)))
}

/// Pings more often than this are a flood for peers with default settings.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
