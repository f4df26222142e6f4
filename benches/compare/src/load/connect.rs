//! Opening WebSockets: the handshakes of RFC 6455 and RFC 8441.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use h2::client::SendRequest;
use http::{Method, Request, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::rustls::pki_types::ServerName;

use super::client::Client;
use super::frame::{Ring, bad};
use super::wire::{Socket, Stream};
use super::{Deflate, Sockets, Target};

/// The key of RFC 6455 §1.3, and what has to come back for it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How many handshakes are under way at a time.
pub(super) const AT_ONCE: usize = 32;

/// TCP or TLS.
pub(super) trait Carrier: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Carrier for S {}

/// Opens all.
pub(super) async fn open(
    target: &Target,
    sockets: Sockets,
    ring: &Rc<Ring>,
    deflate: Option<Deflate>,
) -> io::Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(sockets.count());
    match sockets {
        Sockets::Http1(connections) => {
            let streams = stream::iter(0..connections)
                .map(|index| upgraded(target, index, deflate))
                .buffered(AT_ONCE);
            let streams: Vec<_> = streams.try_collect().await?;
            let client = |stream| Client::new(Socket(stream), ring.clone());
            clients.extend(streams.into_iter().map(client));
        }
        Sockets::Http2(connections, streams) => {
            for index in 0..connections {
                open_streams(target, index, streams, ring, &mut clients).await?;
            }
        }
    }
    Ok(clients)
}

/// A connection on which the opening handshake is over.
pub(super) async fn upgraded(
    target: &Target,
    index: usize,
    deflate: Option<Deflate>,
) -> io::Result<Box<dyn Carrier>> {
    let mut stream = connect(target, index).await?;
    if target.raw {
        // A byte that comes back says that the connection was accepted, as a handshake does.
        let mut byte = [0];
        stream.write_all(&byte).await?;
        stream.flush().await?;
        stream.read_exact(&mut byte).await?;
        return Ok(stream);
    }
    let extensions = match deflate {
        None => "",
        Some(Deflate::Dedicated) => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        Some(Deflate::Shared) => {
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
             client_no_context_takeover\r\n"
        }
    };
    let request = opening(target.port, "/", extensions);
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 || head.len() > 16 * 1024 {
            return Err(bad("no end of the handshake"));
        }
    }
    let head = String::from_utf8_lossy(&head);
    if !head.starts_with("HTTP/1.1 101") || !head.contains(ACCEPT) {
        return Err(bad(&format!("refused: {head}")));
    }
    if deflate.is_some() && !head.contains("permessage-deflate") {
        return Err(bad("no compression agreed"));
    }
    Ok(stream)
}

/// The head of an opening handshake.
pub(super) fn opening(port: u16, path: &str, extensions: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: compare\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extensions}\r\n",
    )
}

/// Opens the streams of one HTTP/2 connection.
async fn open_streams(
    target: &Target,
    index: usize,
    streams: usize,
    ring: &Rc<Ring>,
    clients: &mut Vec<Client>,
) -> io::Result<()> {
    let carrier = connect(target, index).await?;
    let (mut sender, connection) = h2::client::Builder::new()
        .initial_window_size(8 << 20)
        .initial_connection_window_size(64 << 20)
        .handshake::<_, Bytes>(carrier)
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(connection);
    for _ in 0..500 {
        if target.raw || sender.is_extended_connect_protocol_enabled() {
            break;
        }
        // The server's settings are on their way.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..streams {
        let stream = extended_connect(target, &mut sender).await?;
        clients.push(Client::new(stream, ring.clone()));
    }
    Ok(())
}

async fn extended_connect(target: &Target, sender: &mut SendRequest<Bytes>) -> io::Result<Stream> {
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = format!("http://127.0.0.1:{}/", target.port)
        .parse()
        .map_err(io::Error::other)?;
    if target.raw {
        *request.method_mut() = Method::POST;
    } else {
        *request.method_mut() = Method::CONNECT;
        let version = http::HeaderValue::from_static("13");
        request
            .headers_mut()
            .insert("sec-websocket-version", version);
        request
            .extensions_mut()
            .insert(h2::ext::Protocol::from_static("websocket"));
    }
    std::future::poll_fn(|cx| sender.poll_ready(cx))
        .await
        .map_err(io::Error::other)?;
    let (response, send) = sender
        .send_request(request, false)
        .map_err(io::Error::other)?;
    let response = response.await.map_err(io::Error::other)?;
    if response.status() != StatusCode::OK {
        return Err(bad(&format!("refused with {}", response.status())));
    }
    Ok(Stream {
        send,
        receive: response.into_body(),
    })
}

/// Connects from one of many addresses, so that the ports of one do not run out.
async fn connect(target: &Target, index: usize) -> io::Result<Box<dyn Carrier>> {
    let socket = TcpSocket::new_v4()?;
    let address = Ipv4Addr::new(127, 0, 0, (1 + index / 4_000 % 200) as u8);
    if index >= 4_000 {
        socket.bind(SocketAddr::from((address, 0)))?;
    }
    let stream = socket
        .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, target.port)))
        .await?;
    stream.set_nodelay(true)?;
    // No port waits in TIME-WAIT when the run is over.
    stream.set_zero_linger()?;
    secure(target, stream).await
}

async fn secure(target: &Target, stream: TcpStream) -> io::Result<Box<dyn Carrier>> {
    Ok(match &target.tls {
        None => Box::new(stream),
        Some(tls) => {
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            Box::new(tls.connect(name, stream).await?)
        }
    })
}
