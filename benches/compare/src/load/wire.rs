//! A WebSocket's bytes, whatever carries them: TCP, TLS, or a stream of an HTTP/2 connection.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What carries the bytes of one WebSocket.
pub(crate) trait Wire {
    /// Sends from the front of `data`; ready when it is empty.
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>>;

    /// Receives once, and shows what came. The end of the bytes is an error.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        see: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>>;
}

thread_local! {
    /// What all connections read into.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 256 * 1024]);
}

/// A connection of its own.
pub(crate) struct Socket<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Wire for Socket<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>> {
        while !data.is_empty() {
            let sent = ready!(Pin::new(&mut self.0).poll_write(cx, data))?;
            let _sent = data.split_to(sent);
        }
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        see: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            see(buffer.filled());
            Poll::Ready(Ok(()))
        })
    }
}

/// A stream of an HTTP/2 connection.
pub(crate) struct Stream {
    pub(crate) send: SendStream<Bytes>,
    pub(crate) receive: RecvStream,
}

impl Wire for Stream {
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<io::Result<()>> {
        while !data.is_empty() {
            self.send.reserve_capacity(data.len());
            if self.send.capacity() == 0 {
                match ready!(self.send.poll_capacity(cx)) {
                    Some(capacity) => capacity.map_err(io::Error::other)?,
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                };
            }
            let piece = data.split_to(self.send.capacity().min(data.len()));
            if !piece.is_empty() {
                self.send
                    .send_data(piece, false)
                    .map_err(io::Error::other)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        see: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        let Some(data) = ready!(self.receive.poll_data(cx)) else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let data = data.map_err(io::Error::other)?;
        let flow = self.receive.flow_control();
        flow.release_capacity(data.len())
            .map_err(io::Error::other)?;
        see(&data);
        Poll::Ready(Ok(()))
    }
}
