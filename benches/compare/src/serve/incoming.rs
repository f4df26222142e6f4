//! Accepting connections: the same for every server.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::serve::ListenerExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::{Accept, TlsAcceptor, server::TlsStream};

use super::BoxError;

/// The variable that names a PEM file with certificate and key; without it there is no TLS.
pub(crate) const CERTIFICATE: &str = "COMPARE_CERTIFICATE";

/// A port of 127.0.0.1.
pub(super) struct Incoming {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Incoming {
    pub(super) async fn bind(port: u16) -> Result<Self, BoxError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let tls = match env::var(CERTIFICATE) {
            Ok(path) => Some(acceptor(&path)?),
            Err(_) => None,
        };
        Ok(Self { listener, tls })
    }

    /// Serves an axum app: over the socket itself where there is no TLS, as axum's users do.
    pub(super) async fn serve(self, app: Router) -> Result<(), BoxError> {
        if self.tls.is_some() {
            return Ok(axum::serve(self, app).await?);
        }
        // A socket that is gone already will say so when it is read.
        let listener = self
            .listener
            .tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, app).await?)
    }

    /// Accepts one, with TCP_NODELAY. Goes on where one fails, such as for want of descriptors.
    pub(super) async fn accept(&self) -> Stream {
        loop {
            let Ok((stream, _peer)) = self.listener.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            // A socket that is gone already will say so when it is read.
            let _set = stream.set_nodelay(true);
            return match &self.tls {
                None => Stream::Plain(stream),
                Some(tls) => Stream::Accepting(Box::new(tls.accept(stream))),
            };
        }
    }
}

impl axum::serve::Listener for Incoming {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        (
            Self::accept(self).await,
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

fn acceptor(path: &str) -> Result<TlsAcceptor, BoxError> {
    let certificate = CertificateDer::from_pem_file(path)?;
    let key = PrivateKeyDer::from_pem_file(path)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// TCP, or TLS, whose handshake is made by the first who reads or writes.
pub(super) enum Stream {
    Plain(TcpStream),
    Accepting(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The socket, where there is no TLS.
    pub(super) fn into_tcp(self) -> Option<TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            _ => None,
        }
    }

    fn poll_secure(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Self::Accepting(accept) = self {
            let stream = ready!(Pin::new(accept).poll(cx))?;
            *self = Self::Tls(Box::new(stream));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_secure(cx))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Accepting(_) => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_secure(cx))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Accepting(_) => Poll::Pending,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_secure(cx))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Accepting(_) => Poll::Pending,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_secure(cx))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Accepting(_) => Poll::Pending,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_secure(cx))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Accepting(_) => Poll::Pending,
        }
    }
}
