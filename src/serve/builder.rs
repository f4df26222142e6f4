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

/// Serves `app` to every client of `listener`: an address, such as `"127.0.0.1:8080"`, or a listener, see
/// [`Listen`](crate::serve::Listen).
///
/// It runs when awaited, and forever unless there is a
/// [`graceful_shutdown`](Serve::graceful_shutdown). Connections are tasks of their own.
///
/// # Errors
///
/// Errors of single connections are logged, and so is a lack of file descriptors or memory, after
/// which it pauses for up to a second. It ends with an error only when the listener says
/// [`InvalidInput`](io::ErrorKind::InvalidInput): it does not listen, or no longer. Open connections
/// are shut down then as with a signal.
///
/// # Cancel safety
///
/// Dropping the future closes the listener. Connections that are open go on.
///
/// # Panics
///
/// Needs tokio's runtime with I/O and time enabled, and panics without.
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
#[must_use = "a server runs when it is awaited"]
pub struct Serve<L, S, F = Pending<()>> {
    pub(super) listener: L,
    pub(super) app: S,
    pub(super) signal: F,
    pub(super) settings: Settings,
}

impl<L, S, F> Serve<L, S, F> {
    /// Speaks TLS. An idle WebSocket takes about 9 KB of heap with it, and 1 KB without.
    ///
    /// `h2` and `http/1.1` are offered by ALPN if the configuration names no protocols; without
    /// the feature `http2` only the latter.
    ///
    /// [`PemFiles`](super::PemFiles) makes a configuration of files, which are read again when they change.
    ///
    /// Which provider of cryptography is used is the configuration's business: this crate chooses
    /// none here. `tokio-rustls = { version = "0.26", default-features = false, features = ["ring",
    /// "tls12"] }` is one that goes with the feature `client`, which uses ring; with the default
    /// features of `tokio-rustls` beside it there are two, and `ServerConfig::builder` panics until
    /// the application has called `CryptoProvider::install_default`.
    pub fn tls(mut self, config: impl Into<Arc<ServerConfig>>) -> Self {
        self.settings.tls = Some(config.into());
        self
    }

    /// Stops when `signal` is ready.
    ///
    /// 1. Nothing more is accepted, the listener is closed.
    /// 2. Connections finish the requests that they have, and end.
    /// 3. WebSockets are closed with 1001 and waited for, as by [`Connections::drain`]; handshakes
    ///    are refused.
    /// 4. What is left at the deadline of [`drain`](Self::drain) is aborted, and the future is ready
    ///    within two seconds.
    ///
    /// These are the WebSockets of all layers that have answered a handshake of this server:
    /// those of a layer with [`Connections`] of its own are all of that registry, also if
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

    /// Sets how connections are closed by [`graceful_shutdown`](Self::graceful_shutdown), and how
    /// long that may take, requests that are no WebSockets included.
    ///
    /// Default: [`Drain::default`], within 30 seconds.
    pub fn drain(mut self, drain: Drain) -> Self {
        self.settings.drain = drain;
        self
    }

    /// Registers the WebSockets of every layer that has no [`Connections`] of its own in these.
    ///
    /// Default: none. [`graceful_shutdown`](Self::graceful_shutdown) uses a private registry if none is
    /// set.
    ///
    /// Shared by several servers, the first one that stops drains them for all: the others'
    /// WebSockets are closed, too, their handshakes refused, and each [`Stopped`](super::Stopped) counts
    /// all.
    pub fn connections(mut self, connections: &Connections) -> Self {
        self.settings.connections = Some(connections.clone());
        self
    }

    /// Limits the time that a client has for the TLS handshake, and from then on for the first
    /// request's head; over HTTP/1.1 also for every other head, from its first byte.
    ///
    /// A client that has said nothing, or too little, is cut off. Default: 10 seconds. `None` means
    /// no limit. Less than a millisecond is taken as one: then only what is there at once is served.
    pub fn header_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.header_timeout = timeout.into().map(at_least);
        self
    }

    /// Limits the time between two requests on an HTTP/1.1 connection.
    ///
    /// It begins when the response has been written, and ends with the first byte of the next
    /// request, whose head then has [`header_timeout`](Self::header_timeout). It is also the time
    /// in which a client has to take some more of a response that waits for it, beside what the
    /// part before needs at 14 KiB per second, at most 438 seconds: a slow client is not cut off, and
    /// one that reads nothing is.
    ///
    /// Default: 75 seconds, longer than load balancers keep an idle connection, which is 60 as a rule:
    /// when the server is the first to end it, a request may be lost. `None` means no limit. Less than
    /// a millisecond is taken as one.
    pub fn keep_alive_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.settings.keep_alive_timeout = timeout.into().map(at_least);
        self
    }

    /// Sets how many bytes a client may send ahead on one stream of an HTTP/2 connection.
    ///
    /// More lets clients far away send faster. It is also what a stream costs whose application does
    /// not read. The window of the whole connection is as large as those of
    /// [`max_streams`](Self::max_streams) together, or of 512 if these are fewer, and at least
    /// 16 MiB: with hyper's own, 1 MiB for both, a stream or two that are not read stop all others.
    /// Default: 64 KiB; of a connection with 200 streams that are not read, 12.5 MiB are kept.
    /// Less than 1 KiB is taken as 1 KiB, and 2 GiB and more as one byte less than that.
    pub fn stream_window(mut self, bytes: u32) -> Self {
        self.settings.stream_window = bytes.max(MIN_STREAM_WINDOW);
        self
    }

    /// Limits the streams that are open at a time on one HTTP/2 connection.
    ///
    /// Default: 200. Zero is taken as one.
    pub fn max_streams(mut self, streams: u32) -> Self {
        self.settings.max_streams = streams.max(1);
        self
    }

    /// Limits the connections that are open at a time, WebSockets over HTTP/1.1 included; over HTTP/2 all
    /// WebSockets of a client are on one.
    ///
    /// At the limit nothing is accepted until one of them ends: clients wait in the kernel's queue, of which a
    /// listener has 1,024 places, and those beyond it are not answered. That begins with a warning in the log.
    /// What is idle or dead is ended by the deadlines. To refuse with a 503 instead, put
    /// `tower::limit::ConcurrencyLimit` around the route service: see
    /// [`WebSocketLayer`](crate::WebSocketLayer).
    ///
    /// Default: no limit, but that of file descriptors. Zero is taken as one.
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.settings.max_connections = connections.into();
        self
    }

    /// Takes the PROXY protocol, version 1 or 2, from every client, before TLS: each connection has to begin
    /// with its header.
    ///
    /// For a server behind a proxy that does not speak HTTP itself, such as HAProxy in TCP mode or a load
    /// balancer of a cloud. Requests have the client's address that it announces as
    /// [`PeerAddr`](crate::service::PeerAddr), and none if that is a Unix socket: then
    /// the `ConnectInfo` of axum's `into_make_service_with_connect_info`, if that is served, is the proxy's own address,
    /// and all such clients count as one for [`PerAddress`](crate::service::PerAddress). A connection of the proxy's own
    /// (`LOCAL`, `UNKNOWN`) keeps the address that it has. What else a header has is passed over.
    ///
    /// A connection that begins otherwise is dropped, as is one whose header does not come within
    /// [`header_timeout`](Self::header_timeout). Whoever reaches the port can announce any address: let only the proxy
    /// reach it. Default: off.
    pub fn proxy_protocol(mut self) -> Self {
        self.settings.proxy = true;
        self
    }

    /// Has the kernel ask a client that was silent for so long whether it is there (`SO_KEEPALIVE`).
    ///
    /// WebSockets and HTTP/2 connections are pinged anyway, and HTTP/1.1 has
    /// [`keep_alive_timeout`](Self::keep_alive_timeout). It is for what none of these look after, such as a WebSocket
    /// whose [`Config::ping_interval`](crate::Config::ping_interval) is `None`, and keeps entries of NATs on the way
    /// alive. How often it asks is the system's setting: on Linux nine times, 75 seconds apart.
    ///
    /// Less than a second is taken as one, and more than 32,767 as so many, which is the most that Linux takes. Only
    /// for connections whose [`Listener::tcp`] tells of a TCP connection. Default: off.
    pub fn tcp_keepalive(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.settings.tcp.keepalive = idle.into();
        self
    }

    /// Has the kernel give up a connection when something that was sent is not acknowledged for so long
    /// (`TCP_USER_TIMEOUT`, RFC 5482; Linux and Android, elsewhere nothing happens).
    ///
    /// The kernel's own limit is about 15 minutes. Pings of WebSockets and HTTP/2 find a client that is gone
    /// within 40 seconds; this finds it in the middle of what is sent. It also
    /// ends the connection of one that is there, and takes nothing of what waits for it for so long. Default: off.
    pub fn tcp_user_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.settings.tcp.user_timeout = limit.into();
        self
    }

    /// Calls `hook` once for every connection that was accepted, when HTTP is done with it.
    ///
    /// So it tells of what no layer sees: clients that failed to speak TLS or HTTP, or took too long. A WebSocket over
    /// HTTP/1.1 is [`Upgraded`](super::ConnectionEnd::Upgraded) as soon as it is open; over HTTP/2 the connection
    /// ends behind its WebSockets. The hook runs in the connection's task, and must not block. It is not called for what
    /// is dropped with the runtime.
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
    /// Begins to listen, to know the address before the server runs: that of port 0, for one.
    ///
    /// ```
    /// use tower_websocket::{WebSocket, endpoint, handler, serve};
    ///
    /// # async fn chat(_: WebSocket) {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let server = serve("127.0.0.1:0", endpoint(handler(chat))).bind().await?;
    /// println!("http://{}", server.local_addr()?);
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
