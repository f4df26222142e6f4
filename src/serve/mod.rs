//! A server, for who has a tower service and none yet (feature `serve`).
//!
//! [`serve`](fn@serve) takes a listener and a service: an axum `Router`, [`endpoint`](crate::endpoint),
//! or any other `tower::Service<http::Request<hyper::body::Incoming>>`. It speaks HTTP/1.1 and HTTP/2, with or
//! without TLS, survives what clients do to it, and stops in good order:
//!
//! ```no_run
//! use axum::{Router, routing::any};
//! use tower_websocket::{Error, WebSocket, WebSocketLayer, handler, serve};
//!
//! async fn echo(mut socket: WebSocket) -> Result<(), Error> {
//!     while let Some(message) = socket.recv().await? {
//!         socket.send(message).await?;
//!     }
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let websocket = WebSocketLayer::new(handler(echo));
//!     let app = Router::new().route("/echo", any(async || "a page").layer(websocket));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//!     let stopped = serve(listener, app)
//!         .graceful_shutdown(async {
//!             let _failed = tokio::signal::ctrl_c().await;
//!         })
//!         .await?;
//!     println!("{stopped:?}");
//!     Ok(())
//! }
//! ```
//!
//! [`accept`] opens a single WebSocket on a stream, with no service at all.
//!
//! # HTTP
//!
//! The first bytes of a connection tell HTTP/1.1 from HTTP/2, which clients may speak by prior
//! knowledge or after ALPN; WebSocket over HTTP/2 (RFC 8441) is announced. Without the feature
//! `http2` it is HTTP/1.1 alone, and HTTP/2 clients are refused.
//!
//! hyper's own limits hold: 200 streams per HTTP/2 connection, 16 KiB of headers per HTTP/2 request,
//! and those on resets and CONTINUATION frames.
//!
//! # Slow clients, and dead ones
//!
//! An HTTP/2 connection is pinged after 20 seconds, and ended if nothing comes within 20 more. Any byte
//! is a sign of life. The answer to a ping waits behind what was sent before, so that has its own
//! time: 14 KiB per second, at most 438 seconds. A client that reads nothing of what waits for it is
//! given up after 40 seconds and the same allowance. HTTP/1.1 has no pings:
//! [`Serve::keep_alive_timeout`] limits the time there.
//!
//! Over TCP little waits in the kernel, where nothing can overtake it: see
//! [`Listener`](trait.Listener.html#impl-Listener-for-TcpListener), and set the same options in a
//! listener of your own. `axum::serve` sets none of them; with axum's `ListenerExt` it is
//! `listener.tap_io(|stream| …)`, with `set_nodelay` and `set_tcp_notsent_lowat`.
//!
//! # The client's address
//!
//! Over TCP every request has a [`PeerAddr`](crate::PeerAddr) among its extensions: axum's handlers
//! take `Extension(PeerAddr(address)): Extension<PeerAddr>`. For extractors
//! and layers that want axum's `ConnectInfo`, put it there:
//!
//! ```
//! use axum::{Router, extract::{ConnectInfo, Request}};
//! use tower::util::MapRequestLayer;
//! use tower_websocket::PeerAddr;
//!
//! fn connect_info(mut request: Request) -> Request {
//!     if let Some(&PeerAddr(address)) = request.extensions().get() {
//!         request.extensions_mut().insert(ConnectInfo(address));
//!     }
//!     request
//! }
//!
//! let app: Router = Router::new().layer(MapRequestLayer::new(connect_info));
//! ```

mod accept;
mod connection;
mod head;
mod http;
mod line;
mod listener;
mod stop;

use std::{
    fmt,
    future::{Future, IntoFuture, Pending, pending},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use ::http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tower::{BoxError, Service};

use self::{
    connection::Server,
    http::Http,
    line::Limits,
    stop::{Race, race},
};
use crate::{
    service::Registries,
    session::{Connections, Drain},
};

pub use accept::{AcceptError, accept};
pub use listener::Listener;
pub use stop::Stopped;

/// Serves `app` to every client of `listener`.
///
/// It runs when awaited, and for ever unless there is a
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
pub fn serve<L, S>(listener: L, app: S) -> Serve<L, S> {
    Serve {
        listener,
        app,
        signal: pending(),
        settings: Settings::default(),
    }
}

/// A server about to run: made by [`serve`](fn@serve), and awaited.
#[must_use = "a server runs when it is awaited"]
pub struct Serve<L, S, F = Pending<()>> {
    listener: L,
    app: S,
    signal: F,
    settings: Settings,
}

struct Settings {
    tls: Option<Arc<ServerConfig>>,
    drain: Drain,
    connections: Option<Connections>,
    header_timeout: Option<Duration>,
    keep_alive_timeout: Option<Duration>,
    stream_window: u32,
    max_streams: u32,
}

impl Settings {
    fn limits(&self) -> Limits {
        Limits {
            header: self.header_timeout,
            keep_alive: self.keep_alive_timeout,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tls: None,
            drain: Drain::default(),
            connections: None,
            header_timeout: Some(HEADER_TIMEOUT),
            keep_alive_timeout: Some(KEEP_ALIVE_TIMEOUT),
            stream_window: 64 << 10,
            max_streams: 200,
        }
    }
}

impl<L, S, F> Serve<L, S, F> {
    /// Speaks TLS.
    ///
    /// `h2` and `http/1.1` are offered by ALPN where the configuration names no protocols; without
    /// the feature `http2` only the latter.
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
    /// those of a layer with [`Connections`] of its own are all of that registry, also where
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
    /// Default: none, or with [`graceful_shutdown`](Self::graceful_shutdown) some that nobody sees.
    ///
    /// Shared by several servers, the first one that stops drains them for all: the others'
    /// WebSockets are closed, too, their handshakes refused, and each [`Stopped`] counts all.
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
    /// [`max_streams`](Self::max_streams) together, or of 512 where these are fewer, and at least
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
}

impl<L: Listener, S, F> Serve<L, S, F> {
    /// Where it listens.
    ///
    /// # Errors
    ///
    /// What the listener says.
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

impl<L, S, F, B> IntoFuture for Serve<L, S, F>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    F: Future<Output = ()> + Send + 'static,
{
    type Output = io::Result<Stopped>;
    type IntoFuture = ServeFuture;

    fn into_future(self) -> ServeFuture {
        ServeFuture(Box::pin(run(self)))
    }
}

/// A running server: the future of [`Serve`].
#[must_use = "futures do nothing unless polled"]
pub struct ServeFuture(Pin<Box<dyn Future<Output = io::Result<Stopped>> + Send>>);

impl Future for ServeFuture {
    type Output = io::Result<Stopped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ServeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServeFuture")
    }
}

async fn run<L, S, F, B>(serve: Serve<L, S, F>) -> io::Result<Stopped>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    F: Future<Output = ()> + Send + 'static,
{
    let Serve {
        mut listener,
        app,
        signal,
        settings,
    } = serve;
    let limits = settings.limits();
    let server = Arc::new(Server {
        http: Http::new(&settings),
        tls: settings.tls.map(with_alpn).map(TlsAcceptor::from),
        registries: settings.connections.map(Registries::new),
        limits,
    });
    let (stopper, stop) = stop::channel();
    let mut signal = pin!(signal);
    let ended = loop {
        match race(signal.as_mut(), listener::accept(&mut listener)).await {
            Race::First(()) => break Ok(()),
            Race::Second(Err(error)) => break Err(error),
            Race::Second(Ok((stream, address))) => {
                let (server, app, stop) = (server.clone(), app.clone(), stop.clone());
                tokio::spawn(connection::run::<L, S, B>(
                    server, stream, address, app, stop,
                ));
            }
        }
    };
    drop((listener, stop));
    let registries = server.registries.as_ref().map(Registries::take);
    let stopped = stopper.stop(registries.unwrap_or_default(), &settings.drain);
    let stopped = stopped.await;
    ended.map(|()| stopped)
}

/// Names the protocols that are spoken here, unless the configuration does.
fn with_alpn(mut config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    if config.alpn_protocols.is_empty() {
        let protocols = http::ALPN.iter().map(|protocol| protocol.to_vec());
        Arc::make_mut(&mut config).alpn_protocols = protocols.collect();
    }
    config
}

/// Rounds a timeout up to what timers can tell apart.
fn at_least(timeout: Duration) -> Duration {
    timeout.max(Duration::from_millis(1))
}

/// What a client has for its part of an opening, unless it is set.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an HTTP/1.1 connection may be idle, unless it is set.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);

/// Nearly all of a connection would be headers with less.
const MIN_STREAM_WINDOW: u32 = 1 << 10;
