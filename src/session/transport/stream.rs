//! The kinds of streams that a connection runs over.

use std::pin::Pin;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::http2::Http2Stream;

/// A stream that a connection can run over.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> ByteStream for T {}

/// A stream, taken as what it is where that is known.
pub(super) enum Stream {
    /// A plain TCP connection, taken out of hyper's box and whatever was around it.
    Tcp(TcpStream),
    Hyper(Box<TokioIo<Upgraded>>),
    /// A stream that `h2` gives, without hyper around it.
    Http2(Box<Http2Stream>),
    Other(Pin<Box<dyn ByteStream>>),
}
