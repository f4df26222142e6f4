//! hyper's connections: HTTP/1.1 and HTTP/2, or HTTP/1.1 alone.

use hyper_util::rt::TokioTimer;

use super::Settings;

pub(super) use imp::{ALPN, Http};

#[cfg(feature = "http2")]
mod imp {
    use std::time::Duration;

    use ::http::{Request, Response};
    use http_body::Body;
    use hyper::{body::Incoming, service::Service};
    use hyper_util::{
        rt::{TokioExecutor, TokioIo},
        server::conn::auto,
    };
    use tokio::io::{AsyncRead, AsyncWrite};
    use tower::BoxError;

    use super::{Settings, TokioTimer};

    pub(in crate::serve) const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

    /// The settings of all connections.
    pub(in crate::serve) struct Http(auto::Builder<TokioExecutor>);

    impl Http {
        pub(in crate::serve) fn new(settings: &Settings) -> Self {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder
                .http1()
                .timer(TokioTimer::new())
                .header_read_timeout(settings.header_timeout);
            let stream_window = settings.stream_window.min(MAX_WINDOW);
            let streams = settings.max_streams.max(STREAM_WINDOWS);
            let window = stream_window.saturating_mul(streams);
            builder
                .http2()
                .timer(TokioTimer::new())
                .enable_connect_protocol()
                .max_concurrent_streams(settings.max_streams)
                .initial_stream_window_size(stream_window)
                .initial_connection_window_size(window.clamp(MIN_WINDOW, MAX_WINDOW))
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT);
            Self(builder)
        }

        pub(in crate::serve) fn serve<T, S, B>(
            &self,
            stream: T,
            service: S,
        ) -> auto::UpgradeableConnection<'_, TokioIo<T>, S, TokioExecutor>
        where
            T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
            S: Service<Request<Incoming>, Response = Response<B>>,
            S::Future: Send + 'static,
            S::Error: Into<BoxError>,
            B: Body + Send + 'static,
            B::Data: Send,
            B::Error: Into<BoxError>,
        {
            self.0
                .serve_connection_with_upgrades(TokioIo::new(stream), service)
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

    /// How often a connection is pinged (RFC 9113 §6.7), and how long the answer may take.
    const PING_INTERVAL: Duration = Duration::from_secs(20);
    const PING_TIMEOUT: Duration = Duration::from_secs(20);
}

#[cfg(not(feature = "http2"))]
mod imp {
    use ::http::{Request, Response};
    use http_body::Body;
    use hyper::{body::Incoming, server::conn::http1, service::Service};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncRead, AsyncWrite};
    use tower::BoxError;

    use super::{Settings, TokioTimer};

    pub(in crate::serve) const ALPN: &[&[u8]] = &[b"http/1.1"];

    /// The settings of all connections.
    pub(in crate::serve) struct Http(http1::Builder);

    impl Http {
        pub(in crate::serve) fn new(settings: &Settings) -> Self {
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(settings.header_timeout);
            Self(builder)
        }

        pub(in crate::serve) fn serve<T, S, B>(
            &self,
            stream: T,
            service: S,
        ) -> http1::UpgradeableConnection<TokioIo<T>, S>
        where
            T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
            S: Service<Request<Incoming>, Response = Response<B>>,
            S::Error: Into<BoxError>,
            B: Body + 'static,
            B::Error: Into<BoxError>,
        {
            self.0
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
        }
    }
}
