//! Connecting: from a request to a socket, or to an HTTP/2 connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, Uri, Version, request::Parts};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

use super::{
    connector::Reached,
    deadline::Deadline,
    error::ConnectError,
    http1,
    http2::Http2Connection,
    phase::Phase,
    reach::Way,
    request::{self, IntoRequest, Server},
    settings::Client,
    tls,
    version::{HTTP2, HttpVersion},
};
use crate::{
    handshake::client::{self as handshake, Offer},
    session::{Agreed, ConnectionInfo, Opened, Session, Transport, WebSocket},
};

/// Connecting.
///
/// Dropping a future of these methods stops connecting and closes the stream. The futures need a tokio runtime with
/// I/O and time enabled, and panic without one.
impl Client {
    /// Connects to a server.
    ///
    /// Dropping the future gives up and closes the stream.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`].
    pub async fn connect(&self, request: impl IntoRequest) -> Result<WebSocket, ConnectError> {
        self.request(request).await.map(Response::into_body)
    }

    /// Connects over a stream that leads to the server: as [`request_over`](Self::request_over), without the response.
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
    /// ```no_run
    /// use tower_websocket::client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let response = Client::new().request("wss://example.com/chat").await?;
    /// println!("{:?}", response.headers().get("server"));
    /// let socket = response.into_body();
    /// # Ok(())
    /// # }
    /// ```
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
        let way = self.reach(server).await?;
        self.open_way(server, way, head, version).await
    }

    /// Opens a connection over a stream that leads to the server; the socket is the body of the response.
    ///
    /// For `wss` TLS is done over the stream, unless it [is secured](Self::secured) already. The server is then one
    /// with the name of the URI, which need not be resolvable. The version of HTTP is agreed on as for
    /// [`request`](Self::request). Without TLS it cannot be agreed on: any other than
    /// [`HttpVersion::Http2`] means HTTP/1.1. With HTTP/2 the stream becomes a connection with one socket. If
    /// [`HttpVersion::Negotiated`] would need a second connection, it fails with
    /// [`ConnectError::NoExtendedConnect`].
    ///
    /// The stream must not have carried any HTTP yet. No proxy and no [connector](Self::connector) is used: the
    /// stream leads to the server.
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
        let opened = match self.to_secure(&head.uri) {
            Some(server) => {
                let way = Way::over(stream);
                self.open_way(&server, way, head, self.version).await?
            }
            None => self.open_on(stream, None, head, self.version).await?,
        };
        Ok(opened.map(Session::spawn))
    }

    /// Opens a connection over a way to a server.
    async fn open_way(
        &self,
        server: &Server,
        way: Way,
        head: Parts,
        version: HttpVersion,
    ) -> Result<Response<Opened>, ConnectError> {
        let peer = way.peer;
        match (way.stream, server.tls && !way.secured) {
            (Reached::Tcp(stream), false) => self.open_on(stream, peer, head, version).await,
            (Reached::Other(stream), false) => self.open_on(stream, peer, head, version).await,
            (Reached::Tcp(stream), true) => {
                let (stream, version) = self.secure(server, stream, version).await?;
                self.open_on(stream, peer, head, version).await
            }
            (Reached::Other(stream), true) => {
                let (stream, version) = self.secure(server, stream, version).await?;
                self.open_on(stream, peer, head, version).await
            }
        }
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
        let way = self.reach(&server).await?;
        self.begin_way(&server, way, request.uri()).await
    }

    /// Begins HTTP/2 on a stream that leads to the server, for many sockets.
    ///
    /// Takes scheme and authority from the URI. For `wss` TLS is done over the stream, as in
    /// [`request_over`](Self::request_over).
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
        match self.to_secure(request.uri()) {
            Some(server) => {
                let way = Way::over(stream);
                self.begin_way(&server, way, request.uri()).await
            }
            None => self.begin(stream, None, request.uri()).await,
        }
    }

    /// Begins HTTP/2 on a way to a server.
    async fn begin_way(
        &self,
        server: &Server,
        way: Way,
        uri: &Uri,
    ) -> Result<Http2Connection, ConnectError> {
        let peer = way.peer;
        match (way.stream, server.tls && !way.secured) {
            (Reached::Tcp(stream), false) => self.begin(stream, peer, uri).await,
            (Reached::Other(stream), false) => self.begin(stream, peer, uri).await,
            (Reached::Tcp(stream), true) => {
                let (stream, _) = self.secure(server, stream, HttpVersion::Http2).await?;
                self.begin(stream, peer, uri).await
            }
            (Reached::Other(stream), true) => {
                let (stream, _) = self.secure(server, stream, HttpVersion::Http2).await?;
                self.begin(stream, peer, uri).await
            }
        }
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

    /// Performs the TLS handshake; returns the stream and the version of HTTP that the server chose.
    async fn secure<T>(
        &self,
        server: &Server,
        stream: T,
        version: HttpVersion,
    ) -> Result<(TlsStream<T>, HttpVersion), ConnectError>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
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
