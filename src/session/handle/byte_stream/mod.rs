//! A connection as a stream of bytes, for what knows nothing of messages.

mod error;
mod halves;
mod reading;
mod tunnel;

pub use error::ByteStreamError;
pub use halves::{ByteReader, ByteWriter};

use std::{
    error::Error,
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::socket::WebSocket;

/// A connection as a stream of bytes, made by
/// [`WebSocket::into_byte_stream`](crate::WebSocket::into_byte_stream).
///
/// It is what tunnels, and protocols that were made for TCP, run over: an [`AsyncRead`], an [`AsyncBufRead`] and an
/// [`AsyncWrite`]. The boundaries of messages mean nothing; pings, deadlines and the closing
/// handshake are handled as always.
///
/// ```
/// use tokio::net::TcpStream;
/// use tower_websocket::{CloseCode, WebSocket};
///
/// /// For `handler`: what the client sends goes to the server of a database, and back.
/// async fn tunnel(socket: WebSocket) -> std::io::Result<()> {
///     let mut database = TcpStream::connect("127.0.0.1:5432").await?;
///     let stream = socket.into_byte_stream();
///     stream.tunnel(&mut database, CloseCode::BAD_GATEWAY).await
/// }
/// ```
///
/// # Reading
///
/// The payload of binary messages is read, in their order. With [`AsyncBufRead`] it is not copied: the buffer is that
/// of the message. If [`Config::streaming`](crate::Config::streaming) is enabled, a message is read as it arrives, and
/// may be larger than memory. Empty messages are passed over.
///
/// A text message is an error, and closes the connection with code 1003, unless
/// [`accept_text`](Self::accept_text) is enabled.
///
/// The stream ends when the peer has closed with code 1000, 1001 or none, not in the middle of a message, and when it
/// was shut down here. Everything else is an error of one of these [kinds](io::Error::kind). Each later call fails with
/// the same kind:
///
/// - `ConnectionAborted`: the peer has closed with another code, which means that something is missing; or this end has
///   closed the connection, and not by shutting the stream down. The [`ByteStreamError`] inside has the Close frame.
/// - `InvalidData`: a text message, as a [`ByteStreamError`], or the peer broke the protocol.
/// - `UnexpectedEof`, `ConnectionReset` and others of the transport: the peer has vanished, or closed in the middle
///   of a message.
/// - `TimedOut`: a deadline passed.
///
/// All but [`ByteStreamError`]s become the [`Error`](crate::Error) that they were with `Error::from`.
///
/// # Writing
///
/// Each write is queued as one binary message, of at most [`max_write`](Self::max_write) bytes; what is longer is
/// written in part, as always with [`AsyncWrite`]. A vectored write is one message, too. Put a
/// [`BufWriter`](tokio::io::BufWriter) around it if you write many small pieces. Writing waits while
/// [`Config::max_send_queue`](crate::Config::max_send_queue) is full, and fails with the kind `BrokenPipe` once the
/// closing handshake has begun on either side: there may still be something to read. Flushing waits as
/// [`WebSocket::flush`](crate::WebSocket::flush) does.
///
/// Shutting down sends a Close frame with code 1000 behind all that was written, and waits until the connection is
/// over. It fails if the peer did not answer: then it is not known what the peer has received.
///
/// # There is no half of a close
///
/// A WebSocket is closed in both directions at once (RFC 6455 §5.5.1). After a shutdown nothing is received: what the
/// peer was still sending is discarded, and reading ends. A protocol that ends its requests by closing one direction
/// loses the responses. Do not use [`copy_bidirectional`](tokio::io::copy_bidirectional): it abandons what is still to be
/// read once writing fails, and once the connection has ended it waits for the other stream to end.
/// [`tunnel`](Self::tunnel) copies both ways.
///
/// # Dropping it
///
/// Dropping it does what dropping a [`WebSocket`](crate::WebSocket) does: it starts the closing handshake, behind all that
/// was written, with code 1000, which the peer takes for the regular end. After an error,
/// [close](crate::WebSocket::close) it with another code first, by [`get_ref`](Self::get_ref).
///
/// # Cancel safety
///
/// It is that of a [`TcpStream`](tokio::net::TcpStream): what was not read is read next. A `write` that is dropped before
/// it is ready sends nothing.
#[derive(Debug)]
pub struct ByteStream {
    reader: ByteReader,
    writer: ByteWriter,
}

impl ByteStream {
    fn new(socket: WebSocket) -> Self {
        let (reader, writer) = halves::of(socket);
        Self { reader, writer }
    }

    /// Reads text messages as well, as the bytes they are.
    ///
    /// Whatever is written is sent as binary messages all the same. Default: `false`, a text message closes the
    /// connection with code 1003.
    #[must_use]
    pub fn accept_text(mut self, accept: bool) -> Self {
        self.reader.accept_text(accept);
        self
    }

    /// Limits what is written as one message, in bytes; longer writes are split.
    ///
    /// Set it to the peer's limit of a message, if that is less. Default: 64 KiB. At least one byte.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use tokio::io::AsyncWriteExt;
    ///
    /// let mut stream = server.into_byte_stream().max_write(4);
    /// stream.write_all(b"abcdef").await?;
    /// assert_eq!(client.recv().await?, Some(b"abcd".to_vec().into()));
    /// assert_eq!(client.recv().await?, Some(b"ef".to_vec().into()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn max_write(mut self, bytes: usize) -> Self {
        self.writer.max_write(bytes);
        self
    }

    /// Splits the stream into a half that reads and one that writes, for use in different tasks.
    ///
    /// Unlike with [`tokio::io::split`], they do not wait for each other. They can be
    /// [joined again](ByteReader::reunite).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_websocket::{WebSocket, protocol::Role};
    /// # let (here, there) = tokio::io::duplex(4096);
    /// # let mut server = WebSocket::over(here, Role::Server).spawn()?;
    /// # let mut client = WebSocket::over(there, Role::Client).spawn()?;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// let (mut reader, mut writer) = server.into_byte_stream().into_split();
    /// client.send(b"abc".to_vec()).await?;
    /// let mut bytes = [0; 3];
    /// reader.read_exact(&mut bytes).await?;
    /// assert_eq!(&bytes, b"abc");
    ///
    /// let mut stream = reader.reunite(writer).expect("halves of one stream");
    /// stream.write_all(&bytes).await?;
    /// assert_eq!(client.recv().await?, Some(b"abc".to_vec().into()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn into_split(self) -> (ByteReader, ByteWriter) {
        (self.reader, self.writer)
    }

    /// Returns the connection, to close it with another code, and to ask what is known of it.
    ///
    /// A message that is sent there becomes bytes between those of two writes.
    ///
    /// ```
    /// use tower_websocket::{CloseCode, session::ByteStream};
    ///
    /// fn give_up(stream: &ByteStream) {
    ///     let socket = stream.get_ref();
    ///     socket.close((CloseCode::BAD_GATEWAY, "the database is gone"));
    /// }
    /// ```
    #[must_use]
    pub fn get_ref(&self) -> &WebSocket {
        self.reader.get_ref()
    }
}

impl ByteReader {
    /// Joins the two halves of a connection again.
    ///
    /// # Errors
    ///
    /// Returns the halves if they are not of the same connection.
    pub fn reunite(self, writer: ByteWriter) -> Result<ByteStream, ReuniteError> {
        let reader = self;
        if reader.is_of(&writer) {
            Ok(ByteStream { reader, writer })
        } else {
            Err(ReuniteError(reader, writer))
        }
    }
}

impl WebSocket {
    /// Turns the connection into a stream of bytes over binary messages: an [`AsyncRead`] and an [`AsyncWrite`].
    ///
    /// What was received and not taken yet is read first.
    ///
    /// ```
    /// use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
    /// use tower_websocket::WebSocket;
    ///
    /// /// A protocol of lines.
    /// async fn greet(socket: WebSocket) -> std::io::Result<()> {
    ///     let mut stream = socket.into_byte_stream();
    ///     let mut line = String::new();
    ///     stream.read_line(&mut line).await?;
    ///     stream.write_all(format!("hello, {line}").as_bytes()).await?;
    ///     stream.shutdown().await
    /// }
    /// ```
    #[must_use]
    pub fn into_byte_stream(self) -> ByteStream {
        ByteStream::new(self)
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.reader).poll_read(cx, buf)
    }
}

impl AsyncBufRead for ByteStream {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().reader).poll_fill_buf(cx)
    }

    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.reader).consume(amount);
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.writer).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

/// Two halves that are not of the same connection, returned to the caller.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "as that of tokio: the two halves and nothing else"
)]
pub struct ReuniteError(pub ByteReader, pub ByteWriter);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are of different connections")
    }
}

impl Error for ReuniteError {}
