//! One message as it arrives.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncBufRead, AsyncRead, ReadBuf};

use crate::{
    error::Error,
    protocol::{MessageKind, Piece},
    session::shared::{Shared, locked::Locked},
};

/// A message that is read as it arrives, made by [`WebSocket::recv_reader`](crate::WebSocket::recv_reader).
///
/// Take [`chunk`](Self::chunk)s of it, or read it: it is an [`AsyncRead`] and an [`AsyncBufRead`]. The text
/// of a text message is UTF-8 as a whole; a chunk may end inside a character. The end of the reader is the end of
/// the message; if the connection ends before, there is an error instead.
///
/// Control frames are handled meanwhile, and are not reported.
///
/// Dropping the reader passes over the rest of the message: the next one is received as if nothing had
/// happened, once the peer has sent it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_websocket::{WebSocket, protocol::Role};
/// # let (here, there) = tokio::io::duplex(4096);
/// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
/// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
/// use tokio::io::AsyncReadExt;
/// use tower_websocket::MessageKind;
///
/// client.send("a long story").await?;
/// let mut message = server.recv_reader().await?.expect("one was sent");
/// assert_eq!(message.kind(), MessageKind::Text);
/// let mut story = String::new();
/// message.read_to_string(&mut story).await?;
/// assert_eq!(story, "a long story");
/// # Ok(())
/// # }
/// ```
pub struct MessageReader<'a> {
    shared: &'a Shared,
    kind: MessageKind,
    /// What was taken and not read.
    current: Bytes,
    /// Nothing more of the message will come.
    ended: bool,
    /// The connection ended before the message did.
    failed: bool,
}

impl<'a> MessageReader<'a> {
    /// Waits for a message to begin.
    pub(super) fn poll_begin(
        shared: &'a Shared,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Self>, Error>> {
        let Some(piece) = ready!(shared.poll_piece(cx))? else {
            return Poll::Ready(Ok(None));
        };
        Poll::Ready(Ok(Some(Self {
            shared,
            kind: piece.kind,
            ended: piece.last,
            current: piece.payload,
            failed: false,
        })))
    }

    /// Returns whether the message is text or binary data.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Receives some more of the message; `None` at its end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// client.send("a long story").await?;
    /// let mut message = server.recv_reader().await?.expect("one was sent");
    /// let mut bytes = 0;
    /// while let Some(chunk) = message.chunk().await? {
    ///     bytes += chunk.len();
    /// }
    /// assert_eq!(bytes, 12);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The connection ended before the message did: as
    /// [`recv`](crate::WebSocket::recv), or [`Error::Io`] with `UnexpectedEof` if the peer closed
    /// in the middle of the message. Every later call fails with `UnexpectedEof`, whatever the first
    /// error was.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, Error>> + Send {
        poll_fn(|cx| {
            ready!(self.poll_current(cx))?;
            let chunk = std::mem::take(&mut self.current);
            Poll::Ready(Ok((!chunk.is_empty()).then_some(chunk)))
        })
    }

    /// Waits until there is something in `current`, unless the message has ended.
    fn poll_current(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.current.is_empty() && !self.ended {
            let piece = match self.failed {
                false => ready!(self.shared.poll_piece(cx)),
                true => Ok(None),
            };
            let Ok(Some(Piece { payload, last, .. })) = piece else {
                self.failed = true;
                let eof = io::ErrorKind::UnexpectedEof;
                return Poll::Ready(Err(piece.err().unwrap_or_else(|| Error::Io(eof.into()))));
            };
            self.current = payload;
            self.ended = last;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for MessageReader<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.poll_current(cx))?;
        let len = buf.remaining().min(this.current.len());
        buf.put_slice(&this.current[..len]);
        this.current.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncBufRead for MessageReader<'_> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_current(cx))?;
        Poll::Ready(Ok(&this.current))
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.current.advance(amount);
    }
}

impl Drop for MessageReader<'_> {
    fn drop(&mut self) {
        if !self.ended && !self.failed {
            self.shared.update(Locked::skip_message);
        }
    }
}

impl fmt::Debug for MessageReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader")
            .field("kind", &self.kind)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
