//! What became of a connection of HTTP.

use std::{
    error::Error,
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    thread::panicking,
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{expired::Expired, proxy::ProxyError};

/// The report on one connection of a server, for [`Serve::on_connection_end`](super::Serve::on_connection_end).
///
/// ```no_run
/// use tower_websocket::{serve, serve::ConnectionReport};
///
/// /// Counts what clients are doing, and logs what is unusual.
/// fn ended(report: &ConnectionReport) {
///     if let Some(error) = report.end.error() {
///         tracing::info!(peer = ?report.peer, lasted = ?report.lasted, error, "{}", report.end);
///     }
/// }
///
/// # async fn run(app: axum::Router) -> std::io::Result<()> {
/// serve("127.0.0.1:8080", app).on_connection_end(ended).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectionReport {
    /// The client's address, as in [`PeerAddr`](crate::service::PeerAddr); `None` if it is not known.
    pub peer: Option<SocketAddr>,
    /// The time since the connection was accepted.
    pub lasted: Duration,
    /// How the connection ended.
    pub end: ConnectionEnd,
}

/// How a connection of HTTP ended.
///
/// ```
/// use tower_websocket::serve::ConnectionEnd;
///
/// /// The label of a counter.
/// fn label(end: &ConnectionEnd) -> &'static str {
///     match end {
///         ConnectionEnd::Closed | ConnectionEnd::Upgraded => "fine",
///         ConnectionEnd::Tls(_) | ConnectionEnd::Proxy(_) | ConnectionEnd::Http(_) => "client",
///         ConnectionEnd::Timeout(_) => "slow",
///         ConnectionEnd::Service(_) | ConnectionEnd::Panicked => "bug",
///         ConnectionEnd::Aborted => "stopped",
///         _ => "other",
///     }
/// }
///
/// assert_eq!(label(&ConnectionEnd::Panicked), "bug");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// In good order: by the client, after its last response, or because the server stopped.
    Closed,
    /// It goes on as a WebSocket over HTTP/1.1, or as something else that was requested by `Upgrade`.
    ///
    /// [`WebSocketLayer::on_end`](crate::WebSocketLayer::on_end) reports what becomes of a WebSocket.
    Upgraded,
    /// It did not begin with a valid PROXY header: see [`Serve::proxy_protocol`](super::Serve::proxy_protocol).
    Proxy(ProxyError),
    /// The TLS handshake failed: the client does not speak TLS, does not trust the certificate, or has gone.
    Tls(io::Error),
    /// No service could be made for it: see [`PerConnection`](super::PerConnection).
    Service(io::Error),
    /// The client has gone in the middle of something or broke a rule of HTTP, or the application failed.
    Http(io::Error),
    /// The client took too long.
    Timeout(Expired),
    /// The server stopped, and the connection was not done in time.
    Aborted,
    /// The application panicked over HTTP/1.1, or the hooks of a WebSocket did.
    Panicked,
}

impl fmt::Display for ConnectionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout(expired) => return expired.fmt(f),
            Self::Closed => "the connection was closed",
            Self::Upgraded => "the connection goes on without HTTP",
            Self::Proxy(_) => "the PROXY header was refused",
            Self::Tls(_) => "the TLS handshake failed",
            Self::Service(_) => "there was no service for the connection",
            Self::Http(_) => "the connection failed",
            Self::Aborted => "the connection was aborted when the server stopped",
            Self::Panicked => "the application panicked",
        })
    }
}

impl ConnectionEnd {
    /// Returns the error behind it, if there is one.
    #[must_use]
    pub fn error(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Proxy(error) => Some(error),
            Self::Tls(error) | Self::Service(error) | Self::Http(error) => Some(error),
            _ => None,
        }
    }

    pub(super) fn log(&self) {
        match self.error() {
            Some(error) => tracing::debug!(error, "{self}"),
            None => tracing::debug!("{self}"),
        }
    }
}

/// What is called at the end of each connection.
#[derive(Clone)]
pub(super) struct EndHook(Arc<dyn Fn(&ConnectionReport) + Send + Sync>);

impl EndHook {
    pub(super) fn new(hook: impl Fn(&ConnectionReport) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }
}

/// Who hears of the end of a connection.
pub(super) struct Ending {
    hook: EndHook,
    peer: Option<SocketAddr>,
    start: Instant,
}

impl Ending {
    pub(super) fn new(hook: &EndHook, peer: Option<SocketAddr>, start: Instant) -> Self {
        Self {
            hook: hook.clone(),
            peer,
            start,
        }
    }

    pub(super) fn tell(&self, end: ConnectionEnd) {
        (self.hook.0)(&ConnectionReport {
            peer: self.peer,
            lasted: self.start.elapsed(),
            end,
        });
    }
}

/// Tells of a panic, unless it was told of another end before.
struct Untold(Option<Box<Ending>>);

impl Drop for Untold {
    fn drop(&mut self) {
        if let Some(ending) = self.0.take().filter(|_| panicking()) {
            // A second panic would end the process.
            let _failed = catch_unwind(AssertUnwindSafe(|| ending.tell(ConnectionEnd::Panicked)));
        }
    }
}

pin_project! {
    /// A connection, whose end is logged and told.
    pub(super) struct Reported<F> {
        #[pin]
        connection: F,
        ending: Untold,
    }
}

impl<F> Reported<F> {
    pub(super) fn new(connection: F, ending: Option<Ending>) -> Self {
        Self {
            connection,
            ending: Untold(ending.map(Box::new)),
        }
    }
}

impl<F: Future<Output = ConnectionEnd>> Future for Reported<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let end = ready!(this.connection.poll(cx));
        end.log();
        if let Some(ending) = this.ending.0.take() {
            ending.tell(end);
        }
        Poll::Ready(())
    }
}
