//! The promise of a stream.

use std::{
    error::Error,
    fmt,
    future::{Future, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Version, request::Parts};
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::Witness;
use crate::{lock::Lock, session::Transport};

/// A stream that a handshake may take over, for servers and tests that are not hyper.
///
/// Put it into the request's extensions. The layer looks for hyper's own `OnUpgrade` first, and then for
/// this one. The request's version says whether the stream is one of many on its connection: from HTTP/2 on
/// it is.
///
/// ```
/// use http::Request;
/// use tower_websocket::service::OnUpgrade;
///
/// # fn prepare(mut request: Request<()>) {
/// let (ours, theirs) = tokio::io::duplex(64 * 1024);
/// request.extensions_mut().insert(OnUpgrade::new(theirs));
/// # }
/// ```
#[derive(Clone)]
pub struct OnUpgrade {
    stream: Arc<Lock<Option<StreamFuture>>>,
}

type StreamFuture = Pin<Box<dyn Future<Output = io::Result<Transport>> + Send>>;

impl OnUpgrade {
    /// Wraps a stream that is there already.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        Self::from_future(ready(Ok(stream)))
    }

    /// Wraps a stream that is handed over once the response was sent.
    ///
    /// An error of the future means that it was not.
    pub fn from_future<T>(stream: impl Future<Output = io::Result<T>> + Send + 'static) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + 'static,
    {
        let stream = Box::pin(async { stream.await.map(Transport::other) });
        Self {
            stream: Arc::new(Lock::new(Some(stream))),
        }
    }

    fn take(&self) -> Option<StreamFuture> {
        self.stream.lock().take()
    }
}

impl fmt::Debug for OnUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnUpgrade")
    }
}

/// A stream, and what the HTTP server has read of it already.
pub(super) type HandedOver = (Transport, Bytes);

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

    /// Returns the witness that will know whether the answer was sent, if one is needed.
    pub(super) fn witness(&self) -> Option<Witness> {
        match &self.source {
            Source::Hyper(_, witness) => witness.clone(),
            Source::Other(_) => None,
        }
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<HandedOver, UpgradeFailure>> {
        let multiplexed = self.multiplexed;
        match &mut self.source {
            Source::Hyper(upgrade, witness) => match ready!(Pin::new(upgrade).poll(cx)) {
                Ok(_) if witness.as_ref().is_some_and(|witness| !witness.was_asked()) => {
                    Poll::Ready(Err(UpgradeFailure::Replaced))
                }
                Ok(upgraded) => Poll::Ready(Ok(Transport::hyper(upgraded, multiplexed))),
                Err(error) => Poll::Ready(Err(UpgradeFailure::Hyper(error))),
            },
            Source::Other(stream) => Poll::Ready(match ready!(stream.as_mut().poll(cx)) {
                Ok(transport) => Ok((transport.multiplexed(multiplexed), Bytes::new())),
                Err(error) => Err(UpgradeFailure::Other(error)),
            }),
        }
    }
}

/// Why there was no stream.
#[derive(Debug)]
pub(super) enum UpgradeFailure {
    Hyper(hyper::Error),
    Other(io::Error),
    /// Another layer has replaced the answer, or has hidden its body.
    Replaced,
    /// Neither stream nor error within the write timeout.
    TimedOut,
}

impl UpgradeFailure {
    /// A server that cannot upgrade is a mistake in the program, a layer that gets in the way may be
    /// one; a client that left is not.
    pub(super) fn log(&self) {
        match self {
            Self::Hyper(error) if error.is_user() => tracing::error!(
                %error,
                "websocket upgrade failed: the server needs `with_upgrades` or \
                 `serve_connection_with_upgrades`: see `troubleshooting#the-upgrade-failed`"
            ),
            Self::Replaced => tracing::error!(
                "websocket upgrade failed: another layer replaced the answer, or wraps its body \
                 without passing `is_end_stream` on: see `troubleshooting#the-upgrade-failed`"
            ),
            failure => tracing::debug!(%failure, "websocket upgrade failed"),
        }
    }
}

impl fmt::Display for UpgradeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hyper(_) | Self::Other(_) => "the server did not hand the stream over",
            Self::Replaced => "another layer replaced or hid the answer to the handshake",
            Self::TimedOut => "the stream was not handed over in time",
        })
    }
}

impl Error for UpgradeFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Hyper(error) => Some(error),
            Self::Other(error) => Some(error),
            Self::Replaced | Self::TimedOut => None,
        }
    }
}
