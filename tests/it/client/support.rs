//! Servers in memory: a real one, and some that say exactly what a test wants said.

use axum::{Router, routing::any};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::Handle,
};
use tower_websocket::{
    WebSocket, WebSocketLayer,
    client::{Client, Http2Connection},
    handshake::key,
};

use crate::{
    session::support::{PIPE, within},
    support::{echo, handler},
};

/// A stream to a server for both versions of HTTP.
pub(super) fn served(app: Router) -> DuplexStream {
    let (ours, theirs) = duplex(PIPE);
    tokio::spawn(async {
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http2().enable_connect_protocol();
        let app = TowerToHyperService::new(app);
        let _gone = server
            .serve_connection_with_upgrades(TokioIo::new(theirs), app)
            .await;
    });
    ours
}

/// How many tasks there are.
pub(super) fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// The server's end of an HTTP/1.1 connection on which a request has come.
pub(super) struct Http1 {
    pub(super) stream: DuplexStream,
    pub(super) head: String,
}

impl Http1 {
    /// Reads a request.
    pub(super) async fn asked(mut stream: DuplexStream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        Self { stream, head }
    }

    /// A field of the request.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let line = lines.find(|(field, _)| field.eq_ignore_ascii_case(name));
        line.map(|(_, value)| value)
    }

    /// The right answer, with more lines, each with its end.
    pub(super) fn accepting(&self, more: &str) -> String {
        let key = self.field("sec-websocket-key").unwrap();
        let accept = key::accept(key.as_bytes());
        let accept = accept.to_str().unwrap();
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
        )
    }

    pub(super) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads up to the client's end.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        within(self.stream.read_to_end(&mut rest)).await.unwrap();
        rest
    }
}

/// A socket over HTTP/1.1, and what its server has.
pub(super) async fn opened(client: Client, more: &str) -> (WebSocket, Http1) {
    let (ours, theirs) = duplex(PIPE);
    let server = async {
        let mut server = Http1::asked(theirs).await;
        server.write(server.accepting(more)).await;
        server
    };
    let (response, server) = tokio::join!(client.request_over(ours, "ws://localhost/"), server);
    (response.unwrap().into_body(), server)
}

/// A server of HTTP/2 that speaks frames.
pub(super) struct Http2 {
    pub(super) stream: DuplexStream,
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self {
            kind,
            flags,
            stream,
            payload,
        }
    }

    /// HEADERS that end there.
    pub(super) fn headers(stream: u32, block: &[u8]) -> Self {
        Self::new(HEADERS, END_HEADERS, stream, block)
    }

    pub(super) fn reset(stream: u32, code: u32) -> Self {
        Self::new(RST_STREAM, 0, stream, code.to_be_bytes())
    }

    pub(super) fn settings(settings: &[(u16, u32)]) -> Self {
        let bytes =
            |(id, value): &(u16, u32)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
        Self::new(
            SETTINGS,
            0,
            0,
            settings.iter().flat_map(bytes).collect::<Vec<_>>(),
        )
    }
}

impl Http2 {
    /// Begins a connection with these settings.
    pub(super) async fn begin(mut stream: DuplexStream, settings: &[(u16, u32)]) -> Self {
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut server = Self { stream };
        server.write(&Frame::settings(settings)).await;
        server
    }

    /// A client's connection to such a server, which takes WebSocket.
    pub(super) async fn pair(client: &Client, settings: &[(u16, u32)]) -> (Http2Connection, Self) {
        let (ours, theirs) = duplex(PIPE);
        let settings = [&[(ENABLE_CONNECT_PROTOCOL, 1)], settings].concat();
        let server = async {
            let mut server = Self::begin(theirs, &settings).await;
            server.answer_ping().await;
            server
        };
        let beginning = client.connect_http2_over(ours, "ws://localhost/");
        let (connection, server) = tokio::join!(beginning, server);
        (connection.unwrap(), server)
    }

    pub(super) async fn write(&mut self, frame: &Frame) {
        let len = u32::try_from(frame.payload.len()).unwrap();
        let mut bytes = len.to_be_bytes()[1..].to_vec();
        bytes.extend([frame.kind, frame.flags]);
        bytes.extend(frame.stream.to_be_bytes());
        bytes.extend(&frame.payload);
        let _gone = self.stream.write_all(&bytes).await;
    }

    /// Reads a frame, whichever it is, and acknowledges settings; `None` at the end.
    pub(super) async fn any(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; len as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = Frame::new(head[3], head[4], stream, payload);
        if (frame.kind, frame.flags) == (SETTINGS, 0) {
            self.write(&Frame::new(SETTINGS, ACK, 0, [])).await;
        }
        Some(frame)
    }

    /// Answers the ping after which a client looks at the settings.
    pub(super) async fn answer_ping(&mut self) {
        loop {
            let frame = self.any().await.unwrap();
            if frame.kind == PING && frame.flags == 0 {
                let pong = Frame::new(PING, ACK, 0, frame.payload);
                return self.write(&pong).await;
            }
        }
    }

    /// Reads the next frame about a stream, or a GOAWAY.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.any().await?;
            if matches!(frame.kind, DATA | HEADERS | RST_STREAM | GOAWAY) {
                return Some(frame);
            }
        }
    }
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

/// On SETTINGS and PING.
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// `:status` 200 and 204 (RFC 7541 appendix A).
pub(super) const OK: &[u8] = &[0x88];
pub(super) const NO_CONTENT: &[u8] = &[0x89];
pub(super) const NOT_FOUND: &[u8] = &[0x8d];

/// The code of RST_STREAM.
pub(super) const CANCEL: u32 = 8;

pub(crate) fn app() -> Router {
    let layer = WebSocketLayer::new(handler(echo));
    Router::new().route("/", any(async || "a page").layer(layer))
}

/// Opens a socket on a server that speaks frames.
pub(crate) async fn socket(connection: &Http2Connection, server: &mut Http2) -> (WebSocket, u32) {
    let accepting = async {
        let headers = server.next().await.unwrap();
        assert_eq!(headers.kind, HEADERS, "{headers:?}");
        server.write(&Frame::headers(headers.stream, OK)).await;
        headers.stream
    };
    let (socket, stream) = within(async { tokio::join!(connection.connect("/"), accepting) }).await;
    (socket.unwrap(), stream)
}
