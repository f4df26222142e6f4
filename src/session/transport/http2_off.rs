//! The place of HTTP/2 streams in a build without them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::protocol::SendQueue;

/// A stream that there is none of.
#[derive(Debug)]
pub(crate) enum Http2Stream {}

impl Http2Stream {
    pub(super) fn poll_read_buf(
        &mut self,
        _: &mut Context<'_>,
        _: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }

    pub(super) fn poll_write_queue(
        &mut self,
        _: &mut Context<'_>,
        _: &mut SendQueue,
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
