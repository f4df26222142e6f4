//! A server on a real socket, and clients that say exactly what a test wants said.

use std::{net::SocketAddr, pin::Pin};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneService};
use tower_websocket::service::OnUpgrade;

use super::Http;
use crate::session::support::Failure;

/// A hyper server on 127.0.0.1, which takes HTTP/1.1 and HTTP/2 by prior knowledge.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start<S, B>(app: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let app = boxed(app);
        Self::run(move |stream| {
            let app = TowerToHyperService::new(app.clone());
            async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().enable_connect_protocol();
                let io = TokioIo::new(stream);
                // A client that leaves is no news.
                let _gone = server.serve_connection_with_upgrades(io, app).await;
            }
        })
        .await
    }

    /// A server for HTTP/1.1 that cannot upgrade.
    pub(crate) async fn without_upgrades<S, B>(app: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let app = boxed(app);
        Self::run(move |stream| {
            let app = TowerToHyperService::new(app.clone());
            async move {
                let server = hyper::server::conn::http1::Builder::new();
                let _gone = server.serve_connection(TokioIo::new(stream), app).await;
            }
        })
        .await
    }

    /// A server of another kind, which listens at `address`.
    pub(crate) fn other(
        address: SocketAddr,
        serve: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let task = tokio::spawn(serve);
        Self { address, task }
    }

    /// Waits until it has stopped by itself.
    pub(crate) async fn stopped(&mut self) {
        (&mut self.task).await.unwrap();
    }

    async fn run<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Self { address, task }
    }
}

/// What every application becomes, so that hyper is compiled once for all of them.
type App = BoxCloneService<Request<Incoming>, Response<UnsyncBoxBody<Bytes, BoxError>>, Failure>;

fn boxed<S, B>(app: S) -> App
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let app =
        app.map_response(|response| response.map(|body| body.map_err(Into::into).boxed_unsync()));
    BoxCloneService::new(app.map_err(Failure::new))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    http: Http,
    method: String,
    scheme: &'static str,
    authority: Option<String>,
    path: String,
    protocol: Option<String>,
    headers: Vec<(&'static str, Bytes)>,
    tail: Bytes,
}

impl Ask {
    /// A request without anything to do with WebSocket.
    pub(crate) fn plain(http: Http, path: &str) -> Self {
        Self {
            http,
            method: "GET".to_owned(),
            scheme: "http",
            authority: Some("localhost".to_owned()),
            path: path.to_owned(),
            protocol: None,
            headers: Vec::new(),
            tail: Bytes::new(),
        }
    }

    /// A handshake with all that belongs to it, and no more.
    pub(crate) fn handshake(http: Http, path: &str) -> Self {
        let ask = Self::plain(http, path).header("sec-websocket-version", "13");
        match http {
            Http::One => ask
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-key", KEY),
            Http::Two => ask.method("CONNECT").protocol("websocket"),
        }
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    pub(crate) fn scheme(mut self, scheme: &'static str) -> Self {
        self.scheme = scheme;
        self
    }

    /// `Host` on HTTP/1.1, `:authority` on HTTP/2.
    pub(crate) fn authority<'a>(mut self, authority: impl Into<Option<&'a str>>) -> Self {
        self.authority = authority.into().map(str::to_owned);
        self
    }

    pub(crate) fn protocol<'a>(mut self, protocol: impl Into<Option<&'a str>>) -> Self {
        self.protocol = protocol.into().map(str::to_owned);
        self
    }

    /// Adds a line.
    pub(crate) fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name, Bytes::copy_from_slice(value.as_ref())));
        self
    }

    /// Takes all lines of a field away.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(header, _)| *header != name);
        self
    }

    /// What is sent right behind the head, in the same write.
    pub(crate) fn tail(mut self, bytes: impl Into<Bytes>) -> Self {
        self.tail = bytes.into();
        self
    }

    /// The head on HTTP/1.1.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        if let Some(authority) = &self.authority {
            head.extend_from_slice(format!("host: {authority}\r\n").as_bytes());
        }
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head.extend_from_slice(&self.tail);
        head
    }

    /// Sends it on a connection of its own.
    pub(crate) async fn send(self, server: &Server) -> Answer {
        let stream = TcpStream::connect(server.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        match self.http {
            Http::One => {
                let mut peer = Peer::over(stream);
                peer.write(&self.bytes()).await;
                peer.answer().await
            }
            Http::Two => Http2::connect(stream).await.send(self).await,
        }
    }

    fn into_request(self) -> Request<()> {
        let uri = http::Uri::builder().path_and_query(self.path);
        let mut request = Request::new(());
        let uri = match (self.authority, self.method.as_str(), &self.protocol) {
            // A plain CONNECT has nothing but the authority (RFC 9113 §8.5).
            (Some(authority), "CONNECT", None) => http::Uri::builder().authority(authority),
            (Some(authority), ..) => uri.scheme(self.scheme).authority(authority),
            (None, ..) => uri,
        };
        *request.uri_mut() = uri.build().unwrap();
        *request.method_mut() = Method::from_bytes(self.method.as_bytes()).unwrap();
        for (name, value) in self.headers {
            let value = HeaderValue::from_bytes(&value).unwrap();
            request.headers_mut().append(name, value);
        }
        if let Some(protocol) = self.protocol {
            let protocol = h2::ext::Protocol::from(protocol.as_str());
            request.extensions_mut().insert(protocol);
        }
        request
    }
}

/// One HTTP/2 connection for several streams.
#[derive(Debug)]
pub(crate) struct Http2 {
    streams: h2::client::SendRequest<Bytes>,
}

impl Http2 {
    pub(crate) async fn to(server: &Server) -> Self {
        Self::connect(TcpStream::connect(server.address).await.unwrap()).await
    }

    pub(crate) async fn connect(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self::connect_with(&h2::client::Builder::new(), stream).await
    }

    pub(crate) async fn connect_with(
        builder: &h2::client::Builder,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let (streams, connection) = builder.handshake(stream).await.unwrap();
        tokio::spawn(async {
            let _gone = connection.await;
        });
        let mut http2 = Self { streams };
        // `:protocol` may be sent once the server's SETTINGS came (RFC 8441 §3).
        while !http2.streams.is_extended_connect_protocol_enabled() {
            http2.streams = http2.streams.ready().await.unwrap();
            tokio::task::yield_now().await;
        }
        http2
    }

    /// Sends a request and waits for the head of the response, or a reset.
    pub(crate) async fn try_send(&self, ask: Ask) -> Result<Answer, h2::Error> {
        let is_connect = ask.method == "CONNECT";
        let request = ask.into_request();
        let mut streams = self.streams.clone().ready().await?;
        let (response, send) = streams.send_request(request, !is_connect)?;
        let (head, recv) = response.await?.into_parts();
        let accepted = is_connect && head.status.is_success();
        let mut peer = Peer {
            stream: Stream::Http2 {
                send,
                recv,
                _connection: streams,
            },
            received: BytesMut::new(),
        };
        let body = if accepted {
            Bytes::new()
        } else {
            peer.rest().await
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            peer,
        })
    }

    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        let asked = ask.clone();
        match self.try_send(ask).await {
            Ok(answer) => answer,
            Err(error) => panic!("{error}: {asked:?}"),
        }
    }
}

/// A response as it came over the wire. Its body was read, unless a connection was opened.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) peer: Peer,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// The connection, which was opened as the standards want it.
    pub(crate) fn opened(self, http: Http) -> Peer {
        assert_eq!(self.status, http.accepted(), "{}", self.text());
        assert!(
            !self.headers.contains_key("content-length"),
            "{:?}",
            self.headers
        );
        assert!(!self.headers.contains_key("transfer-encoding"));
        let accept = self.header("sec-websocket-accept");
        if http == Http::One {
            assert_eq!(accept, Some(ACCEPT));
            assert_eq!(self.header("upgrade"), Some("websocket"));
            assert_eq!(self.header("connection"), Some("Upgrade"));
        }
        self.peer
    }
}

/// The client's end of a stream, and what it says frame by frame.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: Stream,
    received: BytesMut,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Io for T {}

#[derive(Debug)]
enum Stream {
    Bytes(Pin<Box<dyn Io>>),
    Http2 {
        send: h2::SendStream<Bytes>,
        recv: h2::RecvStream,
        _connection: h2::client::SendRequest<Bytes>,
    },
}

impl Peer {
    pub(crate) fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug + 'static,
    ) -> Self {
        Self {
            stream: Stream::Bytes(Box::pin(stream)),
            received: BytesMut::new(),
        }
    }

    /// A TCP connection on which nothing was said.
    pub(crate) async fn to(server: &Server) -> Self {
        Self::over(TcpStream::connect(server.address).await.unwrap())
    }

    /// Puts the server's end of a stream into a request, and gives the client's.
    pub(crate) fn in_memory<B>(mut request: Request<B>) -> (Request<B>, Self) {
        let (ours, theirs): (DuplexStream, DuplexStream) = duplex(64 << 10);
        request.extensions_mut().insert(OnUpgrade::new(theirs));
        (request, Self::over(ours))
    }

    /// Opens a connection in memory, without a client's intelligence.
    pub(crate) async fn open<S, R, B>(service: S, request: Request<R>) -> Self
    where
        S: Service<Request<R>, Response = Response<B>>,
        S::Error: std::fmt::Debug,
    {
        let (request, peer) = Self::in_memory(request);
        let status = service.oneshot(request).await.unwrap().status();
        assert!(status == StatusCode::OK || status == StatusCode::SWITCHING_PROTOCOLS);
        peer
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        match &mut self.stream {
            Stream::Bytes(stream) => stream.write_all(bytes).await.unwrap(),
            Stream::Http2 { send, .. } => {
                send.send_data(Bytes::copy_from_slice(bytes), false)
                    .unwrap();
            }
        }
    }

    /// Sends on HTTP/2 in a DATA frame of its own; `false` where the stream has ended.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> bool {
        let Stream::Http2 { send, .. } = &mut self.stream else {
            panic!("not an HTTP/2 stream");
        };
        send.send_data(Bytes::copy_from_slice(bytes), false).is_ok()
    }

    /// Sends a frame as a client has to: masked.
    pub(crate) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.write(&frame(opcode, payload)).await;
    }

    /// Reads a frame; `None` at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<(u8, Bytes)> {
        self.fill(2).await?;
        let (opcode, len) = (self.received[0] & 0x0f, self.received[1]);
        assert!(len < 126, "a short frame");
        let total = 2 + usize::from(len);
        self.fill(total).await.expect("the rest of a frame");
        let mut frame = self.received.split_to(total).freeze();
        frame.advance(2);
        Some((opcode, frame))
    }

    /// Reads a frame of any length: its first byte, with FIN and reserved bits, and its payload.
    #[cfg(feature = "deflate")]
    pub(crate) async fn whole_frame(&mut self) -> Option<(u8, Bytes)> {
        self.fill(2).await?;
        let (start, len) = match self.received[1] {
            126 => {
                self.fill(4).await.expect("the rest of a header");
                let len = [self.received[2], self.received[3]];
                (4, usize::from(u16::from_be_bytes(len)))
            }
            127 => panic!("a frame of less than 64 KiB"),
            len => (2, usize::from(len)),
        };
        self.fill(start + len).await.expect("the rest of a frame");
        let mut frame = self.received.split_to(start + len).freeze();
        let first = frame[0];
        frame.advance(start);
        Some((first, frame))
    }

    /// Sends text through an echo.
    pub(crate) async fn echoes(&mut self, text: &str) {
        self.send(0x1, text.as_bytes()).await;
        let expected = Bytes::copy_from_slice(text.as_bytes());
        assert_eq!(self.frame().await, Some((0x1, expected)));
    }

    /// Waits for the server's Close, answers it, and waits for the end: code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        let (opcode, payload) = self.frame().await.expect("a Close frame");
        assert_eq!(opcode, 0x8, "{payload:?}");
        self.send(0x8, &payload[..2]).await;
        self.end().await;
        assert!(self.rest().await.is_empty());
        let (code, reason) = payload.split_first_chunk().unwrap();
        let reason = String::from_utf8(reason.to_vec()).unwrap();
        (u16::from_be_bytes(*code), reason)
    }

    /// Closes, and waits for the end.
    pub(crate) async fn close(mut self) {
        self.send(0x8, &1000_u16.to_be_bytes()).await;
        let expected = Bytes::from_static(b"\x03\xe8");
        assert_eq!(self.frame().await, Some((0x8, expected)));
        self.end().await;
        assert!(self.rest().await.is_empty());
    }

    /// Ends the client's side of the stream.
    pub(crate) async fn end(&mut self) {
        match &mut self.stream {
            Stream::Bytes(stream) => {
                let _gone = stream.shutdown().await;
            }
            Stream::Http2 { send, .. } => {
                let _gone = send.send_data(Bytes::new(), true);
            }
        }
    }

    /// Reads to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Bytes {
        while self.read().await {}
        self.received.split().freeze()
    }

    /// Reads a response of HTTP/1.1.
    pub(crate) async fn answer(self) -> Answer {
        let mut answer = self.head().await;
        let len = answer.header("content-length");
        let len = len.map_or(0, |len| len.parse().unwrap());
        if answer.status != StatusCode::SWITCHING_PROTOCOLS {
            let received = &mut answer.peer;
            received.fill(len).await.expect("the whole body");
            answer.body = received.received.split_to(len).freeze();
        }
        answer
    }

    /// Reads the head of a response of HTTP/1.1.
    pub(crate) async fn head(mut self) -> Answer {
        let len = loop {
            let end = self.received.windows(4).position(|end| end == b"\r\n\r\n");
            if let Some(at) = end {
                break at + 4;
            }
            assert!(self.read().await, "no response: {:?}", self.received);
        };
        let head = self.received.split_to(len);
        let (status, headers) = parse_head(str::from_utf8(&head).unwrap());
        Answer {
            status,
            headers,
            body: Bytes::new(),
            peer: self,
        }
    }

    /// Reads until there are this many bytes; `None` where the stream ends before.
    async fn fill(&mut self, len: usize) -> Option<()> {
        while self.received.len() < len {
            if !self.read().await {
                assert!(self.received.is_empty(), "cut off: {:?}", self.received);
                return None;
            }
        }
        Some(())
    }

    /// Reads once; `false` at the end of the stream, however it came.
    async fn read(&mut self) -> bool {
        match &mut self.stream {
            Stream::Bytes(stream) => {
                matches!(stream.read_buf(&mut self.received).await, Ok(read) if read > 0)
            }
            Stream::Http2 { recv, .. } => {
                let Some(Ok(data)) = recv.data().await else {
                    return false;
                };
                recv.flow_control().release_capacity(data.len()).unwrap();
                self.received.extend_from_slice(&data);
                true
            }
        }
    }
}

/// A frame of at most 125 bytes, masked.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let len = u8::try_from(payload.len()).unwrap();
    assert!(len < 126, "a short frame");
    let mut frame = vec![0x80 | opcode, 0x80 | len];
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

fn parse_head(head: &str) -> (StatusCode, HeaderMap) {
    let mut lines = head.split_terminator("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let fields = lines.filter(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        let name: HeaderName = name.parse().unwrap();
        (name, HeaderValue::from_str(value.trim()).unwrap())
    });
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value);
    }
    (status.parse().unwrap(), headers)
}

/// The key of RFC 6455 §1.3, and its answer.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
