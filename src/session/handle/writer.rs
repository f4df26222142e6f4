//! One message whose length is not known.

use std::{
    fmt,
    future::{Future, poll_fn},
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use crate::{
    error::Error,
    protocol::{self, Deflater, FrameStart, MessageKind, Opcode, Utf8Validator},
    session::{
        agreed::Compressing,
        shared::{Shared, wait_list::Ticket},
    },
};

/// A message that is written piece by piece, made by
/// [`WebSocket::send_writer`](crate::WebSocket::send_writer).
///
/// What is written leaves in fragments of [`Config::fragment_size`](crate::Config::fragment_size),
/// by default 16 KiB and at most 1 MiB, as soon as one is full; [`flush`](tokio::io::AsyncWriteExt::flush) sends what
/// there is. Writing waits while [`Config::max_send_queue`](crate::Config::max_send_queue) is full,
/// so a message may be larger than memory. If compression was agreed on, the message is compressed on the way.
///
/// Control frames may be sent in between. Other messages of the connection are queued behind this one, up to
/// [`Config::max_send_queue`](crate::Config::max_send_queue): a task that sends more than that
/// while it holds a writer deadlocks. If the connection is closed before the message ends, they are lost with the rest
/// of it.
///
/// # It has to be finished
///
/// The message is over with [`finish`](Self::finish), or with
/// [`shutdown`](tokio::io::AsyncWriteExt::shutdown). A message that has begun cannot be taken back:
/// dropping a writer after anything has left closes the connection with code 1011, and the peer
/// discards the message. Before that a drop has no effect.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_websocket::{WebSocket, protocol::Role};
/// # let (here, there) = tokio::io::duplex(4096);
/// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
/// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
/// use tokio::io::AsyncWriteExt;
/// use tower_websocket::MessageKind;
///
/// let mut message = server.send_writer(MessageKind::Text).await?;
/// message.write_all(b"a long ").await?;
/// message.send("story").await?;
/// message.finish().await?;
/// assert_eq!(client.recv().await?, Some("a long story".into()));
/// # Ok(())
/// # }
/// ```
#[must_use = "a message that is not finished fails the connection"]
pub struct MessageWriter<'a> {
    shared: &'a Shared,
    /// What the next frame begins with.
    first: FrameStart,
    /// What waits to be a fragment: as it was written, or compressed.
    buffer: Vec<u8>,
    /// How much was written of which nothing has left, in bytes.
    unsent: usize,
    /// Text is validated on the way.
    utf8: Option<Utf8Validator>,
    deflater: Option<Deflater>,
    /// Something was compressed since the last flush.
    unflushed: bool,
    context: Option<protocol::Context>,
    compress: bool,
    done: bool,
    /// That with which it waits for what was written to leave.
    flushing: Option<Ticket>,
}

impl<'a> MessageWriter<'a> {
    pub(super) fn poll_begin(
        shared: &'a Shared,
        kind: MessageKind,
        cx: &mut Context<'_>,
        ticket: &mut Option<Ticket>,
    ) -> Poll<Result<Self, Error>> {
        let context = ready!(shared.poll_begin_stream(cx, ticket))?;
        Poll::Ready(Ok(Self {
            shared,
            first: FrameStart::new(kind.opcode()),
            buffer: Vec::new(),
            unsent: 0,
            utf8: (kind == MessageKind::Text).then(Utf8Validator::default),
            deflater: None,
            unflushed: false,
            context,
            compress: shared.compressing().is_some(),
            done: false,
            flushing: None,
        }))
    }

    /// Leaves the message uncompressed, for secrets beside text that others choose.
    ///
    /// It has no effect once something was written.
    pub fn uncompressed(mut self) -> Self {
        if self.is_fresh() {
            self.compress = false;
            self.give_context_back();
        }
        self
    }

    /// Sends bytes as a fragment of their own, behind what was written.
    ///
    /// They are shared, not copied, unless they are few or have to be masked or compressed.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side;
    /// [`Error::Io`] with `InvalidData` if a text message would not be UTF-8.
    ///
    /// # Cancel safety
    ///
    /// None of the bytes is sent if the future is dropped before it is ready.
    pub fn send(
        &mut self,
        bytes: impl Into<Bytes>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let mut bytes = Some(bytes.into());
        poll_fn(move |cx| {
            ready!(self.poll_fragment(cx, 1))?;
            ready!(self.poll_room(cx))?;
            let Some(bytes) = bytes.take() else {
                return Poll::Ready(Ok(()));
            };
            if self.compress {
                self.take(&bytes)?;
                return Poll::Ready(self.queue_buffer(false));
            }
            self.validate(&bytes)?;
            self.unsent += bytes.len();
            Poll::Ready(self.queue(false, bytes))
        })
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] once the closing handshake has begun on either side;
    /// [`Error::Io`] with `InvalidData` if the text ends inside a character, which drops the
    /// writer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the writer.
    pub fn finish(mut self) -> impl Future<Output = Result<(), Error>> + Send {
        poll_fn(move |cx| self.poll_finish(cx))
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_room(cx))?;
        if let Some(utf8) = &mut self.utf8 {
            utf8.finish().map_err(invalid_text)?;
        }
        if let Some(mut deflater) = self.deflater.take() {
            deflater.finish(&[], &mut self.buffer);
            deflater.end(self.context.as_mut());
        }
        let result = self.queue_buffer(true);
        self.end();
        Poll::Ready(result)
    }

    /// Takes what is written; all of it.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.validate(bytes)?;
        self.unsent += bytes.len();
        if !self.compress {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.start_deflater();
        if let Some(deflater) = &mut self.deflater {
            deflater.write(bytes, &mut self.buffer);
            self.unflushed = true;
        }
        Ok(())
    }

    fn start_deflater(&mut self) {
        if self.deflater.is_none()
            && let Some(compressing) = self.shared.compressing()
        {
            self.deflater = Some(Deflater::start(compressing.shape, self.context.as_mut()));
            self.first.rsv1 = true;
        }
    }

    fn validate(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.utf8 {
            Some(utf8) => utf8.push(bytes).map_err(invalid_text),
            None => Ok(()),
        }
    }

    /// Waits until the buffer is shorter than `len` bytes.
    fn poll_fragment(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), Error>> {
        if self.buffer.len() < len {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_room(cx))?;
        Poll::Ready(self.queue_buffer(false))
    }

    /// Waits until there is room for a fragment.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.done {
            return Poll::Ready(Err(Error::Closed));
        }
        self.shared.poll_stream_room(cx)
    }

    fn queue_buffer(&mut self, fin: bool) -> Result<(), Error> {
        if self.buffer.is_empty() && !fin {
            return Ok(());
        }
        let mut payload: Bytes = mem::take(&mut self.buffer).into();
        // A compressor gives nothing for long, and then much at once.
        let size = self.fragment_size();
        while payload.len() > size {
            self.queue(false, payload.split_to(size))?;
        }
        self.queue(fin, payload)
    }

    /// Queues a fragment.
    fn queue(&mut self, fin: bool, payload: Bytes) -> Result<(), Error> {
        let (first, len) = (self.first, mem::take(&mut self.unsent));
        self.shared.queue_piece(fin, first, len, payload)?;
        self.first = FrameStart::CONTINUATION;
        Ok(())
    }

    /// Reports whether nothing was written.
    fn is_fresh(&self) -> bool {
        !self.has_begun() && self.unsent == 0
    }

    /// Reports whether a fragment was queued.
    fn has_begun(&self) -> bool {
        self.first.opcode == Opcode::Continuation
    }

    /// Lets the messages behind this one go.
    fn end(&mut self) {
        self.done = true;
        self.give_context_back();
        self.shared.end_stream();
    }

    fn give_context_back(&mut self) {
        let Some(context) = self.context.take() else {
            return;
        };
        if let Some(mut slot) = self.shared.compressing().and_then(Compressing::lock) {
            *slot = Some(context);
        }
    }

    fn fragment_size(&self) -> usize {
        let size = self.shared.config().fragment_size;
        size.map_or(DEFAULT_FRAGMENT, |size| size.min(MAX_FRAGMENT))
    }
}

impl AsyncWrite for MessageWriter<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(Err(Error::Closed.into()));
        }
        let fragment = this.fragment_size();
        ready!(this.poll_fragment(cx, fragment))?;
        // What is compressed becomes less; about how much is not known.
        let room = if this.compress {
            fragment
        } else {
            fragment - this.buffer.len()
        };
        let len = buf.len().min(room);
        this.take(&buf[..len])?;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.done {
            return Poll::Ready(Ok(()));
        }
        if mem::take(&mut this.unflushed)
            && let Some(deflater) = &mut this.deflater
        {
            deflater.flush(&mut this.buffer);
        }
        ready!(this.poll_fragment(cx, 1))?;
        let flushed = this.shared.poll_stream_flush(cx, &mut this.flushing);
        flushed.map_err(io::Error::from)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx).map_err(io::Error::from)
    }
}

impl Drop for MessageWriter<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.flushing {
            self.shared.forget_flush(ticket);
        }
        if self.done {
            return;
        }
        if self.has_begun() {
            self.shared.fail_stream();
        }
        self.end();
    }
}

impl fmt::Debug for MessageWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

fn invalid_text<E: std::error::Error + Send + Sync + 'static>(error: E) -> Error {
    Error::Io(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The most that waits for a fragment to be full.
const MAX_FRAGMENT: usize = 1 << 20;

/// The size of a fragment, where none is set.
const DEFAULT_FRAGMENT: usize = 16 << 10;
