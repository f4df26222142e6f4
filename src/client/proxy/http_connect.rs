//! A tunnel through an HTTP proxy (RFC 9110 §9.3.6).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http::{
    HeaderValue, Method, Request, Response, Uri,
    header::{HOST, PROXY_AUTHORIZATION},
};
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{
    client::{beside::beside, connector::BoxStream, proxy_error::ProxyError, request::Server},
    refused::collect,
};

/// Asks for a tunnel to a server over a stream that has carried nothing yet.
///
/// Dropping the future drops the stream.
pub(super) async fn tunnel(
    stream: BoxStream,
    server: &Server,
    credentials: Option<&HeaderValue>,
    until: Option<Instant>,
) -> Result<BoxStream, ProxyError> {
    let request = request(server, credentials).map_err(ProxyError::http)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ProxyError::http)?;
    let exchange = async {
        let response = sender.send_request(request).await;
        opened(response.map_err(ProxyError::http)?, until).await
    };
    let upgraded = beside(connection.with_upgrades(), exchange).await?;
    Ok(taken_out(upgraded))
}

fn request(
    server: &Server,
    credentials: Option<&HeaderValue>,
) -> Result<Request<String>, http::Error> {
    let authority = format!("{}:{}", server.host, server.port);
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .header(HOST, &authority)
        .uri(Uri::builder().authority(authority).build()?);
    if let Some(credentials) = credentials {
        request = request.header(PROXY_AUTHORIZATION, credentials);
    }
    request.body(String::new())
}

async fn opened(
    mut response: Response<Incoming>,
    until: Option<Instant>,
) -> Result<Upgraded, ProxyError> {
    if !response.status().is_success() {
        let response = collect(response, until).await;
        return Err(ProxyError::Rejected(Box::new(response)));
    }
    let upgrading = hyper::upgrade::on(&mut response);
    upgrading.await.map_err(ProxyError::http)
}

/// Takes the stream out of hyper's box, with what was read beyond the proxy's answer.
fn taken_out(upgraded: Upgraded) -> BoxStream {
    match upgraded.downcast::<TokioIo<BoxStream>>() {
        Ok(parts) if parts.read_buf.is_empty() => parts.io.into_inner(),
        Ok(parts) => Box::new(Early {
            bytes: parts.read_buf,
            stream: parts.io.into_inner(),
        }),
        Err(upgraded) => Box::new(TokioIo::new(upgraded)),
    }
}

/// A stream of which something was read already: a server of HTTP/2 speaks first, if it likes.
struct Early {
    bytes: Bytes,
    stream: BoxStream,
}

impl AsyncRead for Early {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.bytes.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let len = this.bytes.len().min(buf.remaining());
        buf.put_slice(&this.bytes[..len]);
        this.bytes.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Early {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// How large the head of a proxy's answer may be, with what comes behind it at once.
const MAX_HEAD: usize = 64 << 10;
