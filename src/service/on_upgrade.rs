//! From the answer to the open connection.

use std::{
    error::Error,
    fmt,
    future::{Future, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Version, request::Parts};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Sleep, sleep},
};
use tower::{BoxError, Service};
use tracing::{Span, field::Empty};

use super::body::Witness;
use crate::{
    protocol::CloseFrame,
    session::{Agreed, Opened, Place, Session, Setup, Transport, WebSocket},
};

/// A stream that a handshake may take over, for servers and tests that are not hyper.
///
/// Put it into the request's extensions. The layer looks for hyper's own `OnUpgrade` first, and for
/// this one then. Whether the stream is one of many on its connection is told by the request's
/// version: from HTTP/2 on it is.
///
/// ```
/// use http::Request;
/// use tower_websocket::OnUpgrade;
///
/// # fn prepare(mut request: Request<()>) {
/// let (ours, theirs) = tokio::io::duplex(64 * 1024);
/// request.extensions_mut().insert(OnUpgrade::new(theirs));
/// # }
/// ```
#[derive(Clone)]
pub struct OnUpgrade {
    stream: Arc<Mutex<Option<StreamFuture>>>,
}

type StreamFuture = Pin<Box<dyn Future<Output = io::Result<Transport>> + Send>>;

impl OnUpgrade {
    /// Hands over a stream that is there already.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self::from_future(ready(Ok(stream)))
    }

    /// Hands over a stream once the answer was sent. An error means that it was not.
    pub fn from_future<T>(stream: impl Future<Output = io::Result<T>> + Send + 'static) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let stream = Box::pin(async { stream.await.map(Transport::other) });
        Self {
            stream: Arc::new(Mutex::new(Some(stream))),
        }
    }

    fn take(&self) -> Option<StreamFuture> {
        self.stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl fmt::Debug for OnUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnUpgrade")
    }
}

/// A stream, and what the HTTP server has read of it already.
type HandedOver = (Transport, Bytes);

/// The promise of a stream, hyper's or ours.
pub(crate) struct Upgrade {
    source: Source,
    multiplexed: bool,
}

enum Source {
    Hyper(hyper::upgrade::OnUpgrade, Option<Witness>),
    Other(StreamFuture),
}

impl Upgrade {
    /// Takes the promise out of a request.
    pub(crate) fn take(head: &mut Parts) -> Option<Self> {
        let multiplexed = head.version >= Version::HTTP_2;
        let source = if let Some(upgrade) = head.extensions.remove::<hyper::upgrade::OnUpgrade>() {
            // On HTTP/2 hyper itself looks at the status before it hands the stream over.
            Source::Hyper(upgrade, (!multiplexed).then(Witness::default))
        } else {
            Source::Other(head.extensions.remove::<OnUpgrade>()?.take()?)
        };
        Some(Self {
            source,
            multiplexed,
        })
    }

    /// Who will know whether the answer was sent.
    pub(super) fn witness(&self) -> Option<Witness> {
        match &self.source {
            Source::Hyper(_, witness) => witness.clone(),
            Source::Other(_) => None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<HandedOver, Failure>> {
        let multiplexed = self.multiplexed;
        match &mut self.source {
            Source::Hyper(upgrade, witness) => match ready!(Pin::new(upgrade).poll(cx)) {
                Ok(_) if witness.as_ref().is_some_and(|witness| !witness.was_asked()) => {
                    Poll::Ready(Err(Failure::Replaced))
                }
                Ok(upgraded) => Poll::Ready(Ok(Transport::hyper(upgraded, multiplexed))),
                Err(error) => Poll::Ready(Err(Failure::Hyper(error))),
            },
            Source::Other(stream) => Poll::Ready(match ready!(stream.as_mut().poll(cx)) {
                Ok(transport) => Ok((transport.multiplexed(multiplexed), Bytes::new())),
                Err(error) => Err(Failure::Other(error)),
            }),
        }
    }
}

/// Why there was no stream.
#[derive(Debug)]
enum Failure {
    Hyper(hyper::Error),
    Other(io::Error),
    /// Another layer has replaced the answer, or has hidden its body.
    Replaced,
    /// Neither stream nor error within the write timeout.
    TimedOut,
}

impl Failure {
    /// A server that cannot upgrade is a mistake in the program, a layer that gets in the way may be
    /// one; a client that left is not.
    fn log(&self) {
        match self {
            Self::Hyper(error) if error.is_user() => tracing::error!(
                %error,
                "websocket upgrade failed: the server needs `with_upgrades` or \
                 `serve_connection_with_upgrades`"
            ),
            Self::Replaced => tracing::error!(
                "websocket upgrade failed: another layer replaced the answer, or wraps its body \
                 without passing `is_end_stream` on"
            ),
            failure => tracing::debug!(%failure, "websocket upgrade failed"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hyper(_) | Self::Other(_) => "the server did not hand the stream over",
            Self::Replaced => "another layer replaced or hid the answer to the handshake",
            Self::TimedOut => "the stream was not handed over in time",
        })
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Hyper(error) => Some(error),
            Self::Other(error) => Some(error),
            Self::Replaced | Self::TimedOut => None,
        }
    }
}

/// What a session is started with once the stream is there.
pub(super) struct Start<H> {
    pub(super) route: H,
    pub(super) head: Parts,
    pub(super) setup: Arc<Setup>,
    pub(super) agreed: Agreed,
    pub(super) place: Option<Place>,
    /// Open only to close with this.
    pub(super) close: Option<CloseFrame>,
}

pin_project! {
    /// The task of a connection: waits for the stream, then is its session.
    #[project = UpgradingProj]
    pub(super) enum Upgrading<H: Service<Request<WebSocket>>> {
        Waiting { waiting: Option<Box<Waiting<H>>> },
        Open { #[pin] session: Session<H::Future> },
    }
}

/// A connection whose stream has not been handed over.
pub(super) struct Waiting<H> {
    upgrade: Upgrade,
    deadline: Option<Pin<Box<Sleep>>>,
    start: Start<H>,
}

impl<H: Service<Request<WebSocket>>> Upgrading<H> {
    pub(super) fn new(upgrade: Upgrade, start: Start<H>) -> Self {
        let deadline = start
            .setup
            .config
            .write_timeout
            .map(|timeout| Box::pin(sleep(timeout)));
        Self::Waiting {
            waiting: Some(Box::new(Waiting {
                upgrade,
                deadline,
                start,
            })),
        }
    }
}

impl<H> Future for Upgrading<H>
where
    H: Service<Request<WebSocket>, Response = ()>,
    H::Error: Into<BoxError>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let UpgradingProj::Waiting { waiting } = self.as_mut().project() {
            let transport = match waiting {
                Some(waiting) => ready!(waiting.poll(cx)),
                None => None,
            };
            let (Some(transport), Some(waiting)) = (transport, waiting.take()) else {
                return Poll::Ready(());
            };
            self.set(Self::Open {
                session: waiting.start.session(transport),
            });
        }
        match self.project() {
            UpgradingProj::Open { session } => session.poll(cx),
            UpgradingProj::Waiting { .. } => Poll::Ready(()),
        }
    }
}

impl<H> Waiting<H> {
    /// Waits for the stream; `None` when it does not come.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<HandedOver>> {
        let failure = match self.upgrade.poll(cx) {
            Poll::Ready(Ok(transport)) => return Poll::Ready(Some(transport)),
            Poll::Ready(Err(failure)) => failure,
            Poll::Pending => match &mut self.deadline {
                None => return Poll::Pending,
                Some(deadline) => {
                    ready!(deadline.as_mut().poll(cx));
                    Failure::TimedOut
                }
            },
        };
        failure.log();
        if let Some(hook) = &self.start.setup.on_failed_upgrade {
            hook(&failure);
        }
        Poll::Ready(None)
    }
}

impl<H> Start<H>
where
    H: Service<Request<WebSocket>, Response = ()>,
{
    /// Makes the session; the route service is called here, and dropped.
    fn session(self, (transport, read): HandedOver) -> Session<H::Future> {
        let Self {
            mut route,
            head,
            setup,
            agreed,
            place,
            close,
        } = self;
        let span = connection_span(&head, place.as_ref(), &agreed);
        let agreed = agreed.span(span);
        let opened = Opened {
            transport,
            read,
            setup,
            agreed,
            place,
        };
        match close {
            None => Session::open(opened, |socket| {
                route.call(Request::from_parts(head, socket))
            }),
            Some(frame) => Session::open_to_close(opened, &frame),
        }
    }
}

/// The span in which a connection's session and handler run.
fn connection_span(head: &Parts, place: Option<&Place>, agreed: &Agreed) -> Span {
    let id = place.and_then(Place::id);
    let peer = head.extensions.get::<PeerAddr>();
    tracing::info_span!(
        "websocket",
        id = id.map(display),
        peer = peer.map(|PeerAddr(address)| display(address)),
        path = head.uri.path(),
        http = ?head.version,
        protocol = agreed.protocol.as_deref(),
        close_code = Empty,
    )
}

/// The address of the client, among the extensions of a request.
///
/// The connection's `tracing` span shows it. The servers of the feature `serve` put it there over
/// TCP; with others it is for a layer outside, or for the hook before the answer. A handler of axum
/// takes `Extension<PeerAddr>`, a route service finds it in the request, the hook in
/// [`Handshake::extensions`](super::Handshake::extensions).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "it is the address and nothing else"
)]
pub struct PeerAddr(pub SocketAddr);
