//! hyper's connections: HTTP/1.1 and HTTP/2, or HTTP/1.1 alone.

use std::sync::Arc;

use super::{
    app::{AppBody, HyperApp},
    head_timer::HeadTimer,
    line::Line,
    settings::Settings,
};

pub(super) use imp::{ALPN, Http};

#[cfg(feature = "http2")]
mod imp {
    use std::{
        pin::Pin,
        time::{Duration, Instant as StdInstant},
    };

    use hyper::rt::{Sleep, Timer};
    use hyper_util::{
        rt::{TokioExecutor, TokioIo, TokioTimer},
        server::conn::auto,
    };
    use tokio::io::{AsyncRead, AsyncWrite};

    use super::{AppBody, Arc, HeadTimer, HyperApp, Line, Settings};
    use crate::serve::line::PING_INTERVAL;

    pub(in crate::serve) const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

    /// The settings of all connections.
    pub(in crate::serve) struct Http(auto::Builder<TokioExecutor>);

    impl Http {
        pub(in crate::serve) fn new(settings: &Settings) -> Self {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            let stream_window = settings.stream_window.min(MAX_WINDOW);
            let streams = settings.max_streams.max(STREAM_WINDOWS);
            let window = stream_window.saturating_mul(streams);
            builder
                .http2()
                .enable_connect_protocol()
                .max_concurrent_streams(settings.max_streams)
                .initial_stream_window_size(stream_window)
                .initial_connection_window_size(window.clamp(MIN_WINDOW, MAX_WINDOW))
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(NEVER);
            Self(builder)
        }

        /// Makes the settings of one connection, whose deadlines are kept by `line`.
        pub(in crate::serve) fn timed(&self, line: &Arc<Line>) -> Timed {
            let mut builder = self.0.clone();
            builder
                .http1()
                .timer(HeadTimer(line.clone()))
                .header_read_timeout(HeadTimer::TIMEOUT);
            builder.http2().timer(PingTimer(line.clone()));
            Timed(builder)
        }
    }

    /// The settings of one connection.
    pub(in crate::serve) struct Timed(auto::Builder<TokioExecutor>);

    impl Timed {
        pub(in crate::serve) fn serve<T, S, B>(
            &self,
            stream: T,
            service: S,
        ) -> auto::UpgradeableConnection<'_, TokioIo<T>, S, TokioExecutor>
        where
            T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
            S: HyperApp<B>,
            B: AppBody,
        {
            self.0
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
        }
    }

    /// The timer of hyper's PINGs, which shows that one was sent or answered: hyper waits for
    /// [`NEVER`] then, or until the next one is due.
    struct PingTimer(Arc<Line>);

    impl Timer for PingTimer {
        fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
            self.0.pinging();
            TokioTimer::new().sleep(duration)
        }

        fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn Sleep>> {
            let wait = deadline.saturating_duration_since(self.now());
            self.0.pinged(wait > PING_INTERVAL);
            TokioTimer::new().sleep_until(deadline)
        }

        fn now(&self) -> StdInstant {
            TokioTimer::new().now()
        }
    }

    /// How many windows of streams a connection's has to hold at least.
    ///
    /// Those of all streams, so that they cannot fill it, however few are read. And h2 ends a
    /// connection when unread DATA frames of less than 256 bytes lack, taken together, more than half
    /// of the connection's window to that size: a single stream's window, sent byte by byte, lacks
    /// 255 times itself.
    const STREAM_WINDOWS: u32 = 512;
    const MIN_WINDOW: u32 = 16 << 20;
    /// The largest window there is (RFC 9113 §6.9.1).
    const MAX_WINDOW: u32 = (1 << 31) - 1;

    /// Longer than any connection lives: how long hyper waits for an answer.
    const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
}

#[cfg(not(feature = "http2"))]
mod imp {
    use hyper::server::conn::http1;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncRead, AsyncWrite};

    use super::{AppBody, Arc, HeadTimer, HyperApp, Line, Settings};

    pub(in crate::serve) const ALPN: &[&[u8]] = &[b"http/1.1"];

    /// The settings of all connections.
    pub(in crate::serve) struct Http(http1::Builder);

    impl Http {
        pub(in crate::serve) fn new(_: &Settings) -> Self {
            Self(http1::Builder::new())
        }

        /// Makes the settings of one connection, whose deadlines are kept by `line`.
        pub(in crate::serve) fn timed(&self, line: &Arc<Line>) -> Timed {
            let mut builder = self.0.clone();
            builder
                .timer(HeadTimer(line.clone()))
                .header_read_timeout(HeadTimer::TIMEOUT);
            Timed(builder)
        }
    }

    /// The settings of one connection.
    pub(in crate::serve) struct Timed(http1::Builder);

    impl Timed {
        pub(in crate::serve) fn serve<T, S, B>(
            &self,
            stream: T,
            service: S,
        ) -> http1::UpgradeableConnection<TokioIo<T>, S>
        where
            T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
            S: HyperApp<B>,
            B: AppBody,
        {
            self.0
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
        }
    }
}
