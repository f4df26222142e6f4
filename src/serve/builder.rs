//! A server about to run, and what can be set for it.

use std::{
    fmt,
    future::{Future, Pending, pending},
    io,
    sync::Arc,
    time::Duration,
};

use tokio_rustls::rustls::ServerConfig;

use super::{
    app::Application,
    listen::Listen,
    listener::Listener,
    report::{ConnectionReport, EndHook},
    settings::Settings,
};
use crate::session::{Connections, Drain};

/// Serves `app` to every client of `listener`, over HTTP/1.1 and HTTP/2.
///
/// `listener` is an address, such as `"127.0.0.1:8080"`, or a listener: see [`Listen`](crate::serve::Listen). The
/// server runs when it is awaited, and forever unless there is a
/// [`graceful_shutdown`](Serve::graceful_shutdown). Each connection is a task of its own.
///
/// # Errors
///
/// Errors of single connections are logged, and so is a lack of file descriptors or memory, after
/// which it pauses for up to a second. It returns an error if the address cannot be bound, which the error
/// names, and if the listener fails with [`InvalidInput`](io::ErrorKind::InvalidInput): it does not listen,
/// or no longer. In the latter case open connections are shut down as after a signal.
///
/// # Cancel safety
///
/// Dropping the future closes the listener. Open connections continue.
///
/// # Panics
///
/// Panics outside a tokio runtime with I/O and time enabled.
pub fn serve<L, S>(listener: L, app: S) -> Serve<L, S>
where
    L: Listen,
    S: Application<<L::Listener as Listener>::Addr>,
{
    Serve {
        listener,
        app,
        signal: pending(),
        settings: Settings::default(),
    }
}

/// A server about to run: made by [`serve`](fn@crate::serve), and awaited.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_websocket::{Connections, serve, serve::PemFiles, session::Drain};
///
/// # async fn run(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// let connections = Connections::default();
/// let stopped = serve("0.0.0.0:443", app)
///     .tls(PemFiles::open("fullchain.pem", "privkey.pem")?)
///     .header_timeout(Duration::from_secs(5))
///     .keep_alive_timeout(Duration::from_secs(75))
///     .max_connections(100_000)
///     .max_streams(100)
///     .stream_window(64 << 10)
///     .tcp_keepalive(Duration::from_secs(60))
///     .tcp_user_timeout(Duration::from_secs(30))
///     .connections(&connections)
///     .drain(Drain::default().timeout(Duration::from_secs(20)))
///     .graceful_shutdown(async {
///         let _failed = tokio::signal::ctrl_c().await;
///     })
///     .await?;
/// println!("{} sockets closed in time, {} did not", stopped.websockets.ended, stopped.websockets.aborted);
/// # Ok(())
/// # }
/// ```
#[must_use = "a server runs when it is awaited"]
pub struct Serve<L, S, F = Pending<()>> {
    pub(super) listener: L,
    pub(super) app: S,
    pub(super) signal: F,
    pub(super) settings: Settings,
}

impl<L, S, F> Serve<L, S, F> {
    /// Enables TLS, with this configuration of rustls.
    ///
    /// An idle WebSocket takes about 9 KB of heap with it, and 1 KB without.
    /// If the configuration names no protocols, `h2` and `http/1.1` are offered by ALPN; without
    /// the feature `http2` only the latter.
    ///
    /// [`PemFiles`](super::PemFiles) makes a configuration of files, which are read again when they change.
    ///
    /// The configuration chooses the provider of cryptography; this crate chooses
    /// none here. `tokio-rustls = { version = "0.26", default-features = false, features = ["ring",
    /// "tls12"] }` is one that goes with the feature `client`, which uses ring. With the default
    /// features of `tokio-rustls` beside it there are two, and `ServerConfig::builder` panics until
    /// the application has called `CryptoProvider::install_default`.
    pub fn tls(mut self, config: impl Into<Arc<ServerConfig>>) -> Self {
        self.settings.tls = Some(config.into());
        self
    }

    /// Stops when `signal` is ready.
    ///
    /// 1. Nothing more is accepted, and the listener is closed.
    /// 2. Connections finish the requests that they have, and end.
    /// 3. WebSockets are closed with 1001 and waited for, as by [`Connections::drain`]. Handshakes
    ///    are refused.
    /// 4. What is left at the deadline of [`drain`](Self::drain) is aborted, and the future is ready
    ///    within two seconds.
    ///
    /// These are the WebSockets of all layers that have answered a handshake of this server. If a layer has
    /// [`Connections`] of its own, all connections of that registry are closed, even if
    /// another server has accepted them.
    pub fn graceful_shutdown<G>(mut self, signal: G) -> Serve<L, S, G>
    where
        G: Future<Output = ()> + Send + 'static,
    {
        self.settings.connections.get_or_insert_default();
        Serve {
            listener: self.listener,
            app: self.app,
            signal,
            settings: self.settings,
        }
    }

    /// Sets how [`graceful_shutdown`](Self::graceful_shutdown) closes connections, and how long that may take.
    ///
    /// It applies to requests that are no WebSockets, too. Default: [`Drain::default`], within 30 seconds.
    pub fn drain(mut self, drain: Drain) -> Self {
        self.settings.drain = drain;
        self
    }

    /// Registers the WebSockets of every layer that has no [`Connections`] of its own in these.
    ///
    /// Default: none. [`graceful_shutdown`](Self::graceful_shutdown) uses a private registry if none is
    /// set.
    ///
    /// If several servers share it, the first one that stops drains them all: the others'
    /// WebSockets are closed, too, their handshakes refused, and each [`Stopped`](super::Stopped) counts
    /// all.
    pub fn connections(mut self, connections: &Connections) -> Self {
        self.settings.connections = Some(connections.clone());
        self
    }

    /// Limits the time that a client has for the TLS handshake, and then for the first request's head.
    ///
    /// Over HTTP/1.1 it also limits every other head, from its first byte. A client that has sent nothing, or too
    /// little, is cut off. Default: 10 seconds. `None` means
    /// no limit. Less than a millisecond means one: then only what is there at once is served.
    pub fn header_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.header_timeout = timeout.into().map(at_least);
        self
    }

    /// Limits the time between two requests on an HTTP/1.1 connection.
    ///
    /// It begins when the response has been written, and ends with the first byte of the next
    /// request, whose head then has [`header_timeout`](Self::header_timeout). It is also the time
    /// in which a client has to take some more of a response that waits for it. That is prolonged by the time that
    /// the part before needs at 14 KiB per second, at most 438 seconds: a slow client is not cut off, and
    /// one that reads nothing is.
    ///
    /// Default: 75 seconds, longer than load balancers keep an idle connection, which is usually 60. If the server
    /// ends it first, a request may be lost. `None` means no limit. Less than a millisecond means one.
    pub fn keep_alive_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.keep_alive_timeout = timeout.into().map(at_least);
        self
    }

    /// Sets how many bytes a client may send ahead on one stream of an HTTP/2 connection.
    ///
    /// A larger window lets clients far away send faster. It is also the memory of a stream whose application does
    /// not read. The window of the whole connection is as large as those of
    /// [`max_streams`](Self::max_streams) together, or of 512 if these are fewer, and at least
    /// 16 MiB. With hyper's own, 1 MiB for both, a stream or two that are not read stop all others.
    /// Default: 64 KiB; a connection with 200 streams that are not read keeps 12.5 MiB.
    /// Less than 1 KiB means 1 KiB, and 2 GiB and more mean one byte less than that.
    pub fn stream_window(mut self, bytes: u32) -> Self {
        self.settings.stream_window = bytes.max(MIN_STREAM_WINDOW);
        self
    }

    /// Limits the streams that are open at a time on one HTTP/2 connection.
    ///
    /// Default: 200. Zero means one.
    pub fn max_streams(mut self, streams: u32) -> Self {
        self.settings.max_streams = streams.max(1);
        self
    }

    /// Limits the connections that are open at a time.
    ///
    /// WebSockets over HTTP/1.1 count; over HTTP/2 all WebSockets of a client are on one connection.
    /// At the limit nothing is accepted until one of them ends: clients wait in the kernel's queue, of which a
    /// listener has 1,024 places, and those beyond it get no response. A warning in the log says when that begins.
    /// Deadlines end what is idle or dead. To refuse with a 503 instead, put
    /// `tower::limit::ConcurrencyLimit` around the route service: see
    /// [`WebSocketLayer`](crate::WebSocketLayer).
    ///
    /// Default: no limit, except that of file descriptors. Zero means one.
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.max_connections = connections.into();
        self
    }

    /// Requires the PROXY protocol, version 1 or 2, of every client, before TLS.
    ///
    /// Each connection has to begin with its header. Use it for a server behind a proxy that does not speak HTTP itself,
    /// such as HAProxy in TCP mode or a load
    /// balancer of a cloud. Requests have the client's address that it announces as
    /// [`PeerAddr`](crate::service::PeerAddr), and none if that is a Unix socket. In that case
    /// the `ConnectInfo` of axum's `into_make_service_with_connect_info`, if that is served, is the proxy's own address,
    /// and all such clients count as one for [`PerAddress`](crate::service::PerAddress). A connection of the proxy's own
    /// (`LOCAL`, `UNKNOWN`) keeps the address that it has. Anything else in a header is skipped.
    ///
    /// A connection that begins otherwise is dropped, as is one whose header does not arrive within
    /// [`header_timeout`](Self::header_timeout). Any client that reaches the port can announce any address: allow only the
    /// proxy to reach it. Default: disabled.
    pub fn proxy_protocol(mut self) -> Self {
        self.settings.proxy = true;
        self
    }

    /// Enables the kernel's probes of a client that was silent for this long (`SO_KEEPALIVE`).
    ///
    /// WebSockets and HTTP/2 connections are pinged anyway, and HTTP/1.1 has
    /// [`keep_alive_timeout`](Self::keep_alive_timeout). The probes are for what none of these cover, such as a WebSocket
    /// whose [`Config::ping_interval`](crate::Config::ping_interval) is `None`; they also keep entries of NATs on the way
    /// alive. The system sets how often it probes: on Linux nine times, 75 seconds apart.
    ///
    /// Less than a second means one, and more than 32,767 mean that many, which is the most that Linux takes. It has an
    /// effect only if [`Listener::tcp`] returns a TCP connection. Default: disabled.
    pub fn tcp_keepalive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.settings.tcp.keepalive = idle.into();
        self
    }

    /// Ends a connection if something that was sent is not acknowledged for this long (`TCP_USER_TIMEOUT`).
    ///
    /// The kernel does that (RFC 5482) on Linux and Android; elsewhere it has no effect.
    /// The kernel's own limit is about 15 minutes. Pings of WebSockets and HTTP/2 find a client that is gone
    /// within 40 seconds; this finds it while data is being sent. It also
    /// ends the connection of a client that is there and takes nothing of what waits for it for this long. Default:
    /// disabled.
    pub fn tcp_user_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.tcp.user_timeout = limit.into();
        self
    }

    /// Calls `hook` once for every connection that was accepted, when HTTP is done with it.
    ///
    /// So it reports what no layer sees: clients that failed to speak TLS or HTTP, or took too long. A WebSocket over
    /// HTTP/1.1 is [`Upgraded`](super::ConnectionEnd::Upgraded) as soon as it is open; over HTTP/2 the connection
    /// ends after its WebSockets. The hook runs in the connection's task, and must not block. It is not called for
    /// connections that are dropped with the runtime.
    ///
    /// ```no_run
    /// use tower_websocket::{serve, serve::ConnectionEnd};
    ///
    /// # async fn run(app: axum::Router) -> std::io::Result<()> {
    /// serve("127.0.0.1:8080", app)
    ///     .on_connection_end(|report| match &report.end {
    ///         ConnectionEnd::Closed | ConnectionEnd::Upgraded => {}
    ///         end => eprintln!("{:?} after {:?}: {end}", report.peer, report.lasted),
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_connection_end(
        mut self,
        hook: impl Fn(&ConnectionReport) + Send + Sync + 'static,
    ) -> Self {
        self.settings.on_end = Some(EndHook::new(hook));
        self
    }
}

impl<L: Listen, S, F> Serve<L, S, F> {
    /// Begins to listen, so that the address is known before the server runs, such as that of port 0.
    ///
    /// ```
    /// use tower_websocket::{WebSocket, endpoint, handler, serve};
    ///
    /// # async fn chat(_: WebSocket) {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let server = serve("127.0.0.1:0", endpoint(handler(chat))).bind().await?;
    /// assert_ne!(server.local_addr()?.port(), 0);
    /// tokio::spawn(server.into_future());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The address cannot be bound: the error names it.
    pub async fn bind(self) -> io::Result<Serve<L::Listener, S, F>> {
        Ok(Serve {
            listener: self.listener.listen().await?,
            app: self.app,
            signal: self.signal,
            settings: self.settings,
        })
    }
}

impl<L: Listener, S, F> Serve<L, S, F> {
    /// Returns the address that the server listens on.
    ///
    /// # Errors
    ///
    /// Those of the listener.
    pub fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

impl<L: fmt::Debug, S, F> fmt::Debug for Serve<L, S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

/// Rounds a timeout up to what timers can tell apart.
fn at_least(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

/// Nearly all of a connection would be headers with less.
const MIN_STREAM_WINDOW: u32 = 1 << 10;
