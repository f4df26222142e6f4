//! What makes the streams below: a TCP connector, or one of the application's own.

use std::{
    any::Any,
    error::Error,
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneSyncService};

use crate::session::{UNSENT_SHARED, set_notsent_lowat};

/// A stream of any type.
pub(super) type BoxStream = Box<dyn AnyStream>;

/// What every stream below a client is.
pub(super) trait AnyStream: AsyncRead + AsyncWrite + Any + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Any + Send + Unpin> AnyStream for T {}

/// A stream that leads somewhere.
pub(super) enum Reached {
    /// Sessions have a shorter way to TCP than to any other stream.
    Tcp(TcpStream),
    Other(BoxStream),
}

impl Reached {
    /// Takes a stream as TCP, if it is.
    pub(super) fn of(stream: BoxStream) -> Self {
        if (*stream).type_id() != std::any::TypeId::of::<TcpStream>() {
            return Self::Other(stream);
        }
        let stream: Box<dyn Any> = stream;
        match stream.downcast() {
            Ok(stream) => Self::Tcp(*stream),
            Err(_) => unreachable!("its type was looked at"),
        }
    }

    pub(super) fn boxed(self) -> BoxStream {
        match self {
            Self::Tcp(stream) => Box::new(stream),
            Self::Other(stream) => stream,
        }
    }

    /// Returns the address at the other end, if it is TCP.
    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Other(_) => None,
        }
    }
}

/// Makes streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Connector {
    pub(super) tcp: Tcp,
    own: Option<Own>,
}

/// How TCP connections are made.
#[derive(Clone, Debug, Default)]
pub(super) struct Tcp {
    pub(super) local_address: Option<IpAddr>,
    pub(super) keepalive: Option<Duration>,
}

/// The application's own connector.
#[derive(Clone)]
struct Own(BoxCloneSyncService<Uri, BoxStream, BoxError>);

impl Connector {
    /// Makes streams with this service from now on.
    pub(super) fn replace<C>(&mut self, service: C)
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let service = service
            .map_response(|stream| -> BoxStream { Box::new(stream) })
            .map_err(Into::into);
        self.own = Some(Own(BoxCloneSyncService::new(service)));
    }

    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Connects to where a URI of HTTP leads.
    pub(super) async fn connect(&self, uri: Uri) -> io::Result<Reached> {
        match &self.own {
            Some(own) => {
                let stream = own.0.clone().oneshot(uri).await;
                stream.map(Reached::of).map_err(failed)
            }
            None => self.tcp.connect(uri).await.map(Reached::Tcp),
        }
    }
}

impl Tcp {
    /// Makes a TCP connection to the address that answers first.
    async fn connect(&self, uri: Uri) -> io::Result<TcpStream> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_local_address(self.local_address);
        connector.set_keepalive(self.keepalive);
        connector.set_keepalive_interval(self.keepalive);
        connector.set_keepalive_retries(self.keepalive.map(|_| KEEPALIVE_RETRIES));
        let stream = connector.oneshot(uri).await;
        let stream = stream.map_err(|error| failed(error.into()))?.into_inner();
        // Over plain HTTP/1.1 the session would do it; below TLS and HTTP/2 it cannot.
        let _elsewhere = set_notsent_lowat(&stream, UNSENT_SHARED);
        Ok(stream)
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Own").finish_non_exhaustive()
    }
}

/// Makes the error of a connection that was not made, with the kind of the error below it.
fn failed(error: BoxError) -> io::Error {
    let mut below: Option<&(dyn Error + 'static)> = Some(&*error);
    let mut kind = io::ErrorKind::Other;
    while let Some(error) = below {
        kind = error.downcast_ref().map_or(kind, io::Error::kind);
        below = error.source();
    }
    match error.downcast() {
        Ok(error) => *error,
        Err(error) => io::Error::new(kind, error),
    }
}

/// How many probes in a row are unanswered when a connection counts as broken.
const KEEPALIVE_RETRIES: u32 = 3;
