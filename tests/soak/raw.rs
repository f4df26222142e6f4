//! A client that does what it is told, over HTTP/1.1 and HTTP/2: frames are bytes here.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// Connects from one of many addresses, since each has no more than 28,000 ports.
pub(crate) async fn dial(port: u16) -> io::Result<TcpStream> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let host = 2 + NEXT.fetch_add(1, Ordering::Relaxed) % SOURCES;
    let socket = TcpSocket::new_v4()?;
    let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) - 1 + host);
    socket.bind(SocketAddr::from((source, 0)))?;
    let stream = socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let stream = stream.await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

const SOURCES: u32 = 32;

/// A frame that the server has sent.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// Takes the first frame of what has come.
fn take_frame(buffer: &mut Vec<u8>) -> Option<Frame> {
    let (&first, &second) = (buffer.first()?, buffer.get(1)?);
    let (start, length) = match second & 0x7f {
        126 => (
            4,
            usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?)),
        ),
        127 => (
            10,
            u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?) as usize,
        ),
        length => (2, usize::from(length)),
    };
    let payload = buffer.get(start..start + length)?.to_vec();
    buffer.drain(..start + length);
    Some(Frame {
        opcode: first & 0x0f,
        payload,
    })
}

/// A connection with one WebSocket or, over HTTP/2, several.
pub(crate) enum Wire {
    Http1 { stream: TcpStream, buffer: Vec<u8> },
    Http2(Http2),
}

/// The streams of an HTTP/2 connection are those with odd numbers.
pub(crate) struct Http2 {
    stream: TcpStream,
    /// What has come of HTTP/2's frames.
    buffer: Vec<u8>,
    streams: HashMap<u32, Stream>,
    next: u32,
    is_over: bool,
}

#[derive(Default)]
struct Stream {
    /// Whether the answer was 200, once it is there.
    accepted: Option<bool>,
    data: Vec<u8>,
    ended: bool,
}

impl Wire {
    pub(crate) async fn connect(port: u16, http2: bool) -> io::Result<Self> {
        let mut stream = dial(port).await?;
        if !http2 {
            return Ok(Self::Http1 {
                stream,
                buffer: Vec::new(),
            });
        }
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .await?;
        let mut http2 = Http2 {
            stream,
            buffer: Vec::new(),
            streams: HashMap::new(),
            next: 1,
            is_over: false,
        };
        // No extended CONNECT before the server has allowed it (RFC 8441 §3).
        while http2.read().await? != SETTINGS {}
        Ok(Self::Http2(http2))
    }

    /// Asks for a WebSocket; gives its number on this connection.
    pub(crate) async fn ask(&mut self, path: &str, version: &str) -> io::Result<u32> {
        match self {
            Self::Http1 { stream, .. } => {
                stream.write_all(request(path, version).as_bytes()).await?;
                Ok(0)
            }
            Self::Http2(http2) => http2.ask(path, version, true).await,
        }
    }

    /// Asks for half of one.
    pub(crate) async fn ask_half(&mut self, path: &str) -> io::Result<()> {
        match self {
            Self::Http1 { stream, .. } => {
                let request = request(path, "13");
                stream
                    .write_all(&request.as_bytes()[..request.len() / 2])
                    .await
            }
            Self::Http2(http2) => http2.ask(path, "13", false).await.map(drop),
        }
    }

    /// Waits for the answer, and reports whether it accepts.
    pub(crate) async fn answer(&mut self, id: u32) -> io::Result<bool> {
        match self {
            Self::Http1 { stream, buffer } => loop {
                if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    let accepts = buffer.starts_with(b"HTTP/1.1 101 ");
                    buffer.drain(..end + 4);
                    return Ok(accepts);
                }
                if stream.read_buf(buffer).await? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            },
            Self::Http2(http2) => loop {
                let stream = http2.streams.entry(id).or_default();
                if let Some(accepted) = stream.accepted {
                    return Ok(accepted);
                }
                if stream.ended || http2.is_over {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                http2.read().await?;
            },
        }
    }

    pub(crate) async fn say(&mut self, id: u32, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Http1 { stream, .. } => stream.write_all(bytes).await,
            Self::Http2(http2) => http2.write(DATA, 0, id, bytes).await,
        }
    }

    /// Waits for the next frame; `None` at the end, which may be a reset.
    pub(crate) async fn hear(&mut self, id: u32) -> Option<Frame> {
        loop {
            let (buffer, ended) = match self {
                Self::Http1 { buffer, .. } => (buffer, false),
                Self::Http2(http2) => {
                    let over = http2.is_over;
                    let stream = http2.streams.entry(id).or_default();
                    (&mut stream.data, stream.ended || over)
                }
            };
            if let Some(frame) = take_frame(buffer) {
                return Some(frame);
            }
            if ended {
                return None;
            }
            match self {
                Self::Http1 { stream, buffer } => match stream.read_buf(buffer).await {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                },
                Self::Http2(http2) => {
                    if http2.read().await.is_err() {
                        http2.is_over = true;
                    }
                }
            }
        }
    }

    /// FIN, or END_STREAM.
    pub(crate) async fn finish(&mut self, id: u32) -> io::Result<()> {
        match self {
            Self::Http1 { stream, .. } => stream.shutdown().await,
            Self::Http2(http2) => http2.write(DATA, END_STREAM, id, b"").await,
        }
    }

    /// RST_STREAM; over HTTP/1.1 a RST when it is dropped.
    pub(crate) async fn reset(&mut self, id: u32) -> io::Result<()> {
        match self {
            Self::Http1 { .. } => self.reset_all(),
            Self::Http2(http2) => http2.write(RST_STREAM, 0, id, &8_u32.to_be_bytes()).await,
        }
    }

    /// Has it end with a RST when it is dropped.
    pub(crate) fn reset_all(&self) -> io::Result<()> {
        let (Self::Http1 { stream, .. } | Self::Http2(Http2 { stream, .. })) = self;
        SockRef::from(stream).set_linger(Some(Duration::ZERO))
    }

    pub(crate) async fn go_away(&mut self) -> io::Result<()> {
        self.http2_frame(GOAWAY, 0, &[0; 8]).await
    }

    /// DATA on stream 0 (RFC 9113 §6.1).
    pub(crate) async fn break_http2(&mut self) -> io::Result<()> {
        self.http2_frame(DATA, 0, b"no").await
    }

    async fn http2_frame(&mut self, kind: u8, id: u32, payload: &[u8]) -> io::Result<()> {
        match self {
            Self::Http1 { .. } => Err(ErrorKind::Unsupported.into()),
            Self::Http2(http2) => http2.write(kind, 0, id, payload).await,
        }
    }
}

fn request(path: &str, version: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: {version}\r\n\
         Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
}

impl Http2 {
    async fn ask(&mut self, path: &str, version: &str, whole: bool) -> io::Result<u32> {
        let id = self.next;
        self.next += 2;
        self.streams.insert(id, Stream::default());
        let mut block = Vec::new();
        for (name, value) in [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "localhost"),
            (":path", path),
            ("sec-websocket-version", version),
            ("sec-websocket-extensions", "permessage-deflate"),
        ] {
            // Literals without indexing (RFC 7541 §6.2.2).
            block.push(0);
            for part in [name, value] {
                block.push(part.len() as u8);
                block.extend(part.as_bytes());
            }
        }
        let flags = if whole { END_HEADERS } else { 0 };
        self.write(HEADERS, flags, id, &block).await?;
        Ok(id)
    }

    async fn write(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> io::Result<()> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(id.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await
    }

    /// Reads a frame of HTTP/2, and does what it wants; gives its type.
    async fn read(&mut self) -> io::Result<u8> {
        while self.buffer.len() < 9 || self.buffer.len() < 9 + self.length() {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let frame: Vec<u8> = self.buffer.drain(..9 + self.length()).collect();
        let (header, payload) = frame.split_at(9);
        let (kind, flags) = (header[3], header[4]);
        let id = u32::from_be_bytes([header[5] & 0x7f, header[6], header[7], header[8]]);
        match kind {
            SETTINGS if flags & ACK == 0 => self.write(SETTINGS, ACK, 0, b"").await?,
            PING if flags & ACK == 0 => self.write(PING, ACK, 0, payload).await?,
            DATA | HEADERS | RST_STREAM => {
                if kind == DATA && !payload.is_empty() {
                    let taken = (payload.len() as u32).to_be_bytes();
                    self.write(WINDOW_UPDATE, 0, 0, &taken).await?;
                    if flags & END_STREAM == 0 {
                        self.write(WINDOW_UPDATE, 0, id, &taken).await?;
                    }
                }
                if let Some(stream) = self.streams.get_mut(&id) {
                    match kind {
                        // `:status: 200` of the static table.
                        HEADERS => stream.accepted = Some(payload.first() == Some(&0x88)),
                        DATA => stream.data.extend(payload),
                        _ => stream.ended = true,
                    }
                    stream.ended |= kind != RST_STREAM && flags & END_STREAM != 0;
                }
            }
            _ => {}
        }
        Ok(kind)
    }

    fn length(&self) -> usize {
        u32::from_be_bytes([0, self.buffer[0], self.buffer[1], self.buffer[2]]) as usize
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
