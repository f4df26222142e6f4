//! Connecting: from a request to a socket, or to an HTTP/2 connection.

use std::{error::Error, io, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response, Uri, Version, request::Parts};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tower::ServiceExt;

use super::{
    deadline::Deadline,
    error::ConnectError,
    http1,
    http2::Http2Connection,
    phase::Phase,
    request::{self, IntoRequest, Server},
    settings::Client,
    tls,
    version::{HTTP2, HttpVersion},
};
use crate::{
    handshake::client::{self as handshake, Offer},
    session::{
        Agreed, ConnectionInfo, Opened, Session, Transport, UNSENT_SHARED, WebSocket,
        set_notsent_lowat,
    },
};

/// Connecting. Dropping a future gives up and closes the stream. The futures need a tokio runtime with
/// I/O and time enabled, and panic without one.
impl Client {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(&self, request: impl IntoRequest) -> Result<WebSocket, ConnectError> {
        self.request(request).await.map(Response::into_body)
    }

    /// Connects over a stream that leads to the server: as [`request_over`](Self::request_over), without
    /// the response.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect_over<T>(
        &self,
        stream: T,
        request: impl IntoRequest,
    ) -> Result<WebSocket, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let response = self.request_over(stream, request).await?;
        Ok(response.into_body())
    }

    /// Connects to a server; the socket is the body of the response that accepted it.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn request(
        &self,
        request: impl IntoRequest,
    ) -> Result<Response<WebSocket>, ConnectError> {
        let opened = self.open(request.into_request()?).await?;
        Ok(opened.map(Session::spawn))
    }

    /// Connects to a server, and runs no session.
    pub(crate) async fn open(
        &self,
        request: Request<()>,
    ) -> Result<Response<Opened>, ConnectError> {
        let head = request::head(request, &self.headers);
        let server = Server::of(&head.uri)?;
        if self.version == HttpVersion::Negotiated && server.tls {
            match self
                .open_by(&server, head.clone(), HttpVersion::Negotiated)
                .await
            {
                Err(ConnectError::NoExtendedConnect) => {}
                Err(error) if error.requires_http1() => {}
                result => return result,
            }
        }
        let version = match self.version {
            HttpVersion::Negotiated => HttpVersion::Http1,
            version => version,
        };
        self.open_by(&server, head, version).await
    }

    async fn open_by(
        &self,
        server: &Server,
        head: Parts,
        version: HttpVersion,
    ) -> Result<Response<Opened>, ConnectError> {
        let stream = self.reach(server).await?;
        let peer = stream.peer_addr().ok();
        if !server.tls {
            return self.open_on(stream, peer, head, version).await;
        }
        let (stream, version) = self.secure(server, stream, version).await?;
        self.open_on(stream, peer, head, version).await
    }

    /// Opens a connection over a stream that leads to the server, such as a proxy's; the socket is
    /// the body of the response.
    ///
    /// TLS is up to the caller. [`HttpVersion::Http2`] makes the stream an HTTP/2 connection with one
    /// socket; any other version means HTTP/1.1. The stream must not have carried any HTTP yet. The
    /// request's host need not be resolvable; HTTP/2 servers see its scheme.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn request_over<T>(
        &self,
        stream: T,
        request: impl IntoRequest,
    ) -> Result<Response<WebSocket>, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let head = request::head(request.into_request()?, &self.headers);
        let opened = self.open_on(stream, None, head, self.version).await?;
        Ok(opened.map(Session::spawn))
    }

    async fn open_on<T>(
        &self,
        stream: T,
        peer: Option<SocketAddr>,
        mut head: Parts,
        version: HttpVersion,
    ) -> Result<Response<Opened>, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if version == HttpVersion::Http2 {
            let connection = self.begin(stream, peer, &head.uri).await?;
            return connection.open(Request::from_parts(head, ())).await;
        }
        head.version = Version::HTTP_11;
        let offer = handshake::offer(&mut head, &self.setup.config)?;
        let deadline = Deadline::of(Phase::Handshake, self.handshake_timeout);
        let info = self.info(peer, &head);
        let answer = http1::open(stream, head, &offer, deadline).await?;
        self.accept(answer, &offer, info)
    }

    /// Connects to a server over HTTP/2, for many sockets.
    ///
    /// Takes scheme and authority from the URI, also for later requests that have none. Without TLS
    /// it is HTTP/2 by prior knowledge.
    ///
    /// # Errors
    ///
    /// [`ConnectError::NoHttp2`] or [`ConnectError::NoExtendedConnect`] if the server does not support
    /// it, and every other reason not to get a connection.
    pub async fn connect_http2(
        &self,
        request: impl IntoRequest,
    ) -> Result<Http2Connection, ConnectError> {
        let request = request.into_request()?;
        let server = Server::of(request.uri())?;
        let stream = self.reach(&server).await?;
        let peer = stream.peer_addr().ok();
        if !server.tls {
            return self.begin(stream, peer, request.uri()).await;
        }
        let (stream, _) = self.secure(&server, stream, HttpVersion::Http2).await?;
        self.begin(stream, peer, request.uri()).await
    }

    /// Begins HTTP/2 on a stream that leads to the server, for many sockets.
    ///
    /// TLS is up to the caller. Takes scheme and authority from the URI.
    ///
    /// # Errors
    ///
    /// As [`connect_http2`](Self::connect_http2).
    pub async fn connect_http2_over<T>(
        &self,
        stream: T,
        request: impl IntoRequest,
    ) -> Result<Http2Connection, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let request = request.into_request()?;
        self.begin(stream, None, request.uri()).await
    }

    async fn begin<T>(
        &self,
        stream: T,
        peer: Option<SocketAddr>,
        uri: &Uri,
    ) -> Result<Http2Connection, ConnectError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let deadline = Deadline::of(Phase::Handshake, self.handshake_timeout);
        deadline
            .limit(Http2Connection::begin(self, stream, peer, uri))
            .await
    }

    /// Makes a TCP connection to the address that answers first.
    async fn reach(&self, server: &Server) -> Result<TcpStream, ConnectError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        let uri = server.http_uri()?;
        let connecting = async {
            let stream = connector.oneshot(uri).await.map_err(unreached)?;
            let stream = stream.into_inner();
            // Over plain HTTP/1.1 the session would do it; below TLS and HTTP/2 it cannot.
            let _elsewhere = set_notsent_lowat(&stream, UNSENT_SHARED);
            Ok(stream)
        };
        let deadline = Deadline::of(Phase::Connect, self.connect_timeout);
        deadline.limit(connecting).await
    }

    /// Performs the TLS handshake; returns the stream and the version of HTTP that the server chose.
    async fn secure(
        &self,
        server: &Server,
        stream: TcpStream,
        version: HttpVersion,
    ) -> Result<(TlsStream<TcpStream>, HttpVersion), ConnectError> {
        let connecting = tls::connect(&self.trust, stream, &server.host, version);
        let connecting = async {
            let stream = connecting.await;
            stream.map_err(|error| tls::failure(error, version))
        };
        let deadline = Deadline::of(Phase::Tls, self.tls_timeout);
        let stream = deadline.limit(connecting).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        match version {
            HttpVersion::Http2 if !is_http2 => Err(ConnectError::NoHttp2),
            _ if is_http2 => Ok((stream, HttpVersion::Http2)),
            _ => Ok((stream, HttpVersion::Http1)),
        }
    }

    /// Checks an answer that accepts, and makes what a session starts with.
    pub(super) fn accept(
        &self,
        answer: Response<(Transport, Bytes)>,
        offer: &Offer,
        info: Option<ConnectionInfo>,
    ) -> Result<Response<Opened>, ConnectError> {
        let (head, (transport, read)) = answer.into_parts();
        let mut accepted = offer.check(&head)?;
        let deflate = accepted.take_deflate();
        let agreed = Agreed::default()
            .subprotocol(accepted.subprotocol())
            .deflate(&self.setup, deflate);
        let agreed = match info {
            Some(info) => agreed.info(info),
            None => agreed,
        };
        let opened = Opened {
            transport,
            read,
            setup: self.setup.clone(),
            agreed,
            place: None,
        };
        Ok(Response::from_parts(head, opened))
    }
}

/// Makes the error of a failed TCP connection, with the kind of the error below it.
fn unreached(error: impl Error + Send + Sync + 'static) -> ConnectError {
    let mut below: Option<&(dyn Error + 'static)> = Some(&error);
    let mut kind = io::ErrorKind::Other;
    while let Some(error) = below {
        kind = error.downcast_ref().map_or(kind, io::Error::kind);
        below = error.source();
    }
    ConnectError::Connect(io::Error::new(kind, error))
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn connections_are_configured() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri = format!("wss://{address}/").parse().unwrap();
        let server = Server::of(&uri).unwrap();
        let stream = Client::new().reach(&server).await.unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(
            SockRef::from(&stream).tcp_notsent_lowat().unwrap(),
            128 << 10
        );
    }
}
