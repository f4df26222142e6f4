//! The two halves of a stream of bytes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf},
    task::coop,
};

use super::{error::ByteStreamError, reading::Reading};
use crate::{
    protocol::{CloseCode, Message},
    session::{
        handle::socket::WebSocket,
        shared::{Shared, locked::Locked},
    },
};

/// The half of a [`ByteStream`](super::ByteStream) that reads, made by
/// [`ByteStream::into_split`](super::ByteStream::into_split).
///
/// Dropping it discards what is still to come. The connection stays open until the other half is dropped as well, or shut
/// down. Dropping both does what dropping the stream does.
#[derive(Debug)]
pub struct ByteReader {
    both: Arc<Both>,
    reading: Reading,
}

/// The half of a [`ByteStream`](super::ByteStream) that writes, made by
/// [`ByteStream::into_split`](super::ByteStream::into_split).
///
/// Dropping it sends nothing: the connection stays open until the other half is dropped as well. To close it,
/// [shut it down](tokio::io::AsyncWriteExt::shutdown).
#[derive(Debug)]
pub struct ByteWriter {
    both: Arc<Both>,
    max_write: usize,
}

/// What both halves have.
#[derive(Debug)]
struct Both {
    socket: WebSocket,
    /// It was closed by shutting it down.
    shut_down: AtomicBool,
}

/// Makes the halves of a connection.
pub(super) fn of(socket: WebSocket) -> (ByteReader, ByteWriter) {
    let both = Arc::new(Both {
        socket,
        shut_down: AtomicBool::new(false),
    });
    let reader = ByteReader {
        both: both.clone(),
        reading: Reading::default(),
    };
    let writer = ByteWriter {
        both,
        max_write: MAX_WRITE,
    };
    (reader, writer)
}

impl ByteReader {
    pub(super) fn accept_text(&mut self, accept: bool) {
        self.reading.accept_text(accept);
    }

    /// Returns the connection; as [`ByteStream::get_ref`](super::ByteStream::get_ref).
    #[must_use]
    pub fn get_ref(&self) -> &WebSocket {
        &self.both.socket
    }

    /// Reports whether both are halves of the same connection.
    pub(super) fn is_of(&self, writer: &ByteWriter) -> bool {
        Arc::ptr_eq(&self.both, &writer.both)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Both { socket, shut_down } = &*self.both;
        self.reading
            .poll_fill(socket.sending().shared(), shut_down, cx)
    }
}

impl AsyncRead for ByteReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let there = ready!(self.poll_fill(cx))?;
        let len = buf.remaining().min(there.len());
        buf.put_slice(&there[..len]);
        self.reading.consume(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for ByteReader {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().poll_fill(cx)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.reading.consume(amount);
    }
}

impl Drop for ByteReader {
    fn drop(&mut self) {
        let discarded = self
            .both
            .socket
            .sending()
            .shared()
            .update(Locked::drop_reader);
        drop(discarded);
    }
}

impl ByteWriter {
    pub(super) fn max_write(&mut self, bytes: usize) {
        self.max_write = bytes.max(1);
    }

    /// Returns the connection; as [`ByteStream::get_ref`](super::ByteStream::get_ref).
    #[must_use]
    pub fn get_ref(&self) -> &WebSocket {
        &self.both.socket
    }

    fn shared(&self) -> &Shared {
        self.both.socket.sending().shared()
    }

    /// Queues a message of `len` bytes, for which `payload` is asked once there is room.
    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        len: usize,
        payload: impl FnOnce(usize) -> Bytes,
    ) -> Poll<io::Result<usize>> {
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let coop = ready!(coop::poll_proceed(cx));
        ready!(self.shared().poll_bytes_room(cx))?;
        let len = len.min(self.max_write);
        self.shared().queue(Message::Binary(payload(len)).into())?;
        coop.made_progress();
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for ByteWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, buf.len(), |len| Bytes::copy_from_slice(&buf[..len]))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs
            .iter()
            .fold(0, |len: usize, buf| len.saturating_add(buf.len()));
        self.poll_send(cx, len, |len| gather(bufs, len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared().poll_sink_flush(cx).map_err(Into::into)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = self.shared();
        if shared.close(Some(&CloseCode::NORMAL.into())) {
            self.both.shut_down.store(true, Ordering::Release);
        }
        ready!(shared.poll_sink_closed(cx));
        Poll::Ready(match shared.is_close_received() {
            true => Ok(()),
            false => Err(ByteStreamError::Unanswered.into()),
        })
    }
}

/// Copies the first `len` bytes.
fn gather(bufs: &[IoSlice<'_>], len: usize) -> Bytes {
    let mut payload = BytesMut::with_capacity(len);
    for buf in bufs {
        let left = len - payload.len();
        payload.extend_from_slice(&buf[..left.min(buf.len())]);
    }
    payload.freeze()
}

/// How much is written as one message, where nothing is set.
const MAX_WRITE: usize = 64 << 10;
