//! Two halves as one stream.

use std::io::{IoSlice, Read, Result, Write};

/// A stream made of one half that is read and one that is written.
///
/// Such halves are `stdin` and `stdout` of a process, or both directions of a pipe.
///
/// ```
/// use tower_websocket::{Config, Message, blocking, protocol::Role};
///
/// let (received, mut sent) = (&b"\x81\x05Hello\x88\x02\x03\xe8"[..], Vec::new());
/// let stream = blocking::Pair::new(received, &mut sent);
/// let mut socket = blocking::WebSocket::upgraded(stream, Role::Client, Config::default(), b"");
/// assert_eq!(socket.recv()?, Some(Message::text("Hello")));
/// assert_eq!(socket.recv()?, None);
/// assert_eq!(sent.len(), 8); // the Close frame is answered
/// # Ok::<(), tower_websocket::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pair<R, W> {
    reader: R,
    writer: W,
}

impl<R: Read, W: Write> Pair<R, W> {
    /// Joins two halves.
    pub fn new(reader: R, writer: W) -> Self {
        Self { reader, writer }
    }

    /// Returns the two halves.
    pub fn into_halves(self) -> (R, W) {
        (self.reader, self.writer)
    }
}

impl<R: Read, W> Read for Pair<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        self.reader.read(buffer)
    }
}

impl<R, W: Write> Write for Pair<R, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.writer.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Result<usize> {
        self.writer.write_vectored(slices)
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.flush()
    }
}
