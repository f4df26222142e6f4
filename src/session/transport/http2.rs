//! A stream of an HTTP/2 connection that `h2` gives.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};

use crate::protocol::SendQueue;

/// The two halves of an HTTP/2 stream, for servers that run `h2` themselves.
///
/// Given to [`OnUpgrade::new`](crate::service::OnUpgrade::new), or made ready with
/// [`OnUpgrade::from_future`](crate::service::OnUpgrade::from_future), it is what a connection runs over. A
/// session writes to it without a task and without a copy of large payloads in between, which
/// hyper's upgraded streams need.
///
/// It is the bytes of the DATA frames as they come. What is read is given back to the flow-control
/// windows; a write takes what they have room for and waits while that is nothing. Shutting down
/// sends END_STREAM. The end of reading is the peer's END_STREAM, and its RST_STREAM with CANCEL or
/// NO_ERROR; other codes are errors.
///
/// If it is dropped before it was shut down, it resets the stream with CANCEL, which stands for the reset of
/// a TCP connection (RFC 8441 §5). If it is dropped between the two ends, it leaves the rest to `h2`.
///
/// ```
/// use bytes::Bytes;
/// use h2::{RecvStream, server::SendResponse};
/// use http::{Request, Response};
/// use tokio::sync::oneshot;
/// use tower::ServiceExt;
/// use tower_websocket::{endpoint, handler, service::OnUpgrade, session::Http2Stream, WebSocket};
///
/// async fn chat(socket: WebSocket) { /* … */ }
///
/// /// Answers one request of a connection whose `h2::server::Builder` was told to
/// /// `enable_connect_protocol`: it announces RFC 8441, without which no client asks.
/// async fn answer(
///     request: Request<RecvStream>,
///     mut respond: SendResponse<Bytes>,
/// ) -> Result<(), Box<dyn std::error::Error>> {
///     let (mut head, recv) = request.into_parts();
///     let (hand_over, stream) = oneshot::channel();
///     let stream = async { stream.await.map_err(std::io::Error::other) };
///     head.extensions.insert(OnUpgrade::from_future(stream));
///
///     let response = endpoint(handler(chat)).oneshot(Request::from_parts(head, ())).await?;
///     // The text of a refusal is left out here.
///     let (head, _body) = response.into_parts();
///     let accepted = head.status == 200;
///     let send = respond.send_response(Response::from_parts(head, ()), !accepted)?;
///     if accepted {
///         let _gone = hand_over.send(Http2Stream::new(send, recv));
///     }
///     Ok(())
/// }
/// ```
pub struct Http2Stream {
    send: SendStream<Bytes>,
    recv: RecvStream,
    /// Received and not read.
    chunk: Bytes,
    /// Nothing more can be sent: we have ended our side.
    shut_down: bool,
    /// Keeps the connection of a client.
    holder: Option<watch::Receiver<()>>,
}

impl Http2Stream {
    /// Joins the halves of a stream whose response was sent, or has arrived.
    #[must_use]
    pub fn new(send: SendStream<Bytes>, recv: RecvStream) -> Self {
        Self {
            send,
            recv,
            chunk: Bytes::new(),
            shut_down: false,
            holder: None,
        }
    }

    /// Holds something for as long as the stream is there.
    #[cfg_attr(
        not(feature = "client"),
        expect(dead_code, reason = "clients have connections to hold")
    )]
    pub(crate) fn held(mut self, holder: watch::Receiver<()>) -> Self {
        self.holder = Some(holder);
        self
    }

    /// Reads once into the spare room of `dst`: what one DATA frame has, or what is left of one.
    pub(super) fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        dst: &mut impl BufMut,
    ) -> Poll<io::Result<usize>> {
        if !dst.has_remaining_mut() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_fill(cx))?;
        let len = self.chunk.len().min(dst.remaining_mut());
        dst.put_slice(&self.chunk[..len]);
        self.consume(len);
        Poll::Ready(Ok(len))
    }

    /// Waits until something was received; nothing is there at the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.chunk.is_empty() {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk,
                None => break,
                Some(Err(error)) => {
                    return Poll::Ready(match error.reason() {
                        Some(Reason::NO_ERROR | Reason::CANCEL) => Ok(()),
                        _ => Err(into_io(error)),
                    });
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn consume(&mut self, len: usize) {
        self.chunk.advance(len);
        // It was received, so it may be released.
        let _released = self.recv.flow_control().release_capacity(len);
    }

    /// Writes from the front of `queue`: large payloads as they are, the rest gathered.
    pub(super) fn poll_write_queue(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut SendQueue,
    ) -> Poll<io::Result<usize>> {
        let wanted = queue.next_piece(GATHER);
        let len = ready!(self.poll_capacity(cx, wanted))?;
        let piece = queue.copy_to_bytes(len);
        self.send.send_data(piece, false).map_err(into_io)?;
        Poll::Ready(Ok(len))
    }

    /// Waits for room in the windows; gives how much of what is wanted there is.
    fn poll_capacity(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.send.reserve_capacity(wanted);
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(into_io(error))),
                None => return Poll::Ready(Err(self.why_closed(cx))),
            }
        }
        Poll::Ready(Ok(self.send.capacity().min(wanted)))
    }

    /// Returns why nothing can be sent: that is told to those who receive.
    fn why_closed(&mut self, cx: &mut Context<'_>) -> io::Error {
        if self.chunk.is_empty()
            && let Poll::Ready(Some(received)) = self.recv.poll_data(cx)
        {
            match received {
                Ok(chunk) => self.chunk = chunk,
                Err(error) => return into_io(error),
            }
        }
        io::ErrorKind::BrokenPipe.into()
    }

    /// Sends END_STREAM.
    fn shut_down(&mut self) -> io::Result<()> {
        if self.shut_down {
            return Ok(());
        }
        self.shut_down = true;
        self.send.send_data(Bytes::new(), true).map_err(into_io)
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        dst: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_buf(cx, dst).map_ok(drop)
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let len = ready!(self.poll_capacity(cx, bytes.len().min(GATHER)))?;
        let piece = Bytes::copy_from_slice(&bytes[..len]);
        self.send.send_data(piece, false).map_err(into_io)?;
        Poll::Ready(Ok(len))
    }

    /// Does nothing: the connection's own task writes.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shut_down())
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if !self.shut_down {
            self.send.send_reset(Reason::CANCEL);
        }
    }
}

impl fmt::Debug for Http2Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Stream")
            .field("id", &self.send.stream_id())
            .field("shut_down", &self.shut_down)
            .finish_non_exhaustive()
    }
}

fn into_io(error: h2::Error) -> io::Error {
    if error.is_io() {
        // It says that it is one.
        error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::Other.into())
    } else {
        io::Error::other(error)
    }
}

/// How much is gathered for one write: the default of SETTINGS_MAX_FRAME_SIZE (RFC 9113 §6.5.2).
const GATHER: usize = 16 << 10;
