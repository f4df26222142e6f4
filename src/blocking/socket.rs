//! An open connection over a blocking stream.

mod frame;
mod turn;

use std::{
    io::{self, Read, Write},
    ops::Range,
    time::{Duration, Instant},
};

use self::frame::Frame;
use super::deflated;
use crate::{
    config::Config,
    error::Error,
    handshake::deflate::Agreement,
    protocol::{
        Connection, Deadline, DeflateParams, Message, Outbound, Role, State, close::CloseFrame,
        message::Event,
    },
};

/// A WebSocket connection over a blocking stream.
///
/// [`connect`](super::connect) and [`accept`](super::accept) make it. It does nothing between calls: pings
/// are answered, and deadlines kept, while [`recv`](Self::recv) waits. [Time](super#time) says what the stream's
/// timeouts mean: if [`may_repeat`](super::may_repeat) recognises an error, nothing is lost.
///
/// Dropping it drops the stream, without a Close frame: the peer sees that as 1006. Call
/// [`close`](Self::close) before.
///
/// It takes 16 KiB to read into, the size of a message in progress, and what waits to be written.
///
/// ```
/// use tower_websocket::{CloseCode, Config, Event, blocking::{Pair, WebSocket}, protocol::Role};
///
/// // What a server has sent: a text, a ping and a Close.
/// let received = &b"\x81\x02hi\x89\x011\x88\x02\x03\xe8"[..];
/// let stream = Pair::new(received, Vec::new());
/// let mut socket = WebSocket::upgraded(stream, Role::Client, Config::default(), b"");
/// assert!(socket.is_open());
/// assert_eq!(socket.recv_event()?, Some(Event::from("hi")));
/// assert_eq!(socket.recv_event()?, Some(Event::Ping("1".into())));
/// assert_eq!(socket.recv()?, None);
/// let close = socket.received_close().expect("a code");
/// assert_eq!(close.code(), CloseCode::NORMAL);
///
/// let (_, written) = socket.into_inner().into_halves();
/// assert_eq!(written.len(), 7 + 8); // a pong and a Close, both masked
/// # Ok::<(), tower_websocket::Error>(())
/// ```
#[derive(Debug)]
pub struct WebSocket<S> {
    stream: S,
    connection: Connection,
    role: Role,
    linger: Duration,
    /// What was read; of it, what is in `unread` was not decoded.
    buffer: Vec<u8>,
    pub(super) unread: Range<usize>,
    /// The frame that is being decoded: nothing behind it is, before what has come of it is looked at.
    frame: Frame,
    /// Something was written that the stream may still have.
    unflushed: bool,
    /// The stream took nothing since what is in `unread` was read.
    stalled: bool,
    /// Nothing can be written any more.
    broken: bool,
    /// The peer has ended the stream.
    eof: bool,
    /// Until when the end of the stream is waited for, once all else is over.
    draining: Option<Instant>,
    /// Nothing more is read or written.
    ended: bool,
    /// How it ended was said, or why will be.
    told: bool,
    deadline: Option<Deadline>,
    failure: Option<io::Error>,
    received_close: Option<Option<CloseFrame>>,
    subprotocol: Option<Box<str>>,
    /// The connection's share of the memory for compression.
    agreement: Option<Agreement>,
}

impl<S: Read + Write> WebSocket<S> {
    /// Makes a socket of a stream whose handshake is over.
    ///
    /// `read` is what was read after the handshake. There is no compression.
    #[must_use]
    pub fn upgraded(stream: S, role: Role, config: Config, read: &[u8]) -> Self {
        Self::new(stream, role, &config, read, None)
    }

    pub(super) fn new(
        stream: S,
        role: Role,
        config: &Config,
        read: &[u8],
        params: Option<DeflateParams>,
    ) -> Self {
        let connection = Connection::new(role, config.clone(), Instant::now());
        let mut buffer = read.to_vec();
        let unread = 0..buffer.len();
        buffer.resize(buffer.len().max(READ), 0);
        Self {
            stream,
            connection: deflated::with(connection, params),
            role,
            linger: config.linger,
            buffer,
            unread,
            frame: Frame::default(),
            unflushed: false,
            stalled: false,
            broken: false,
            eof: false,
            draining: None,
            ended: false,
            told: false,
            deadline: None,
            failure: None,
            received_close: None,
            subprotocol: None,
            agreement: None,
        }
    }

    /// Takes over what else was agreed on.
    pub(super) fn keep(mut self, subprotocol: Option<&str>, agreement: Option<Agreement>) -> Self {
        self.subprotocol = subprotocol.map(Into::into);
        self.agreement = agreement;
        self
    }

    /// Receives the next message; `None` once the connection was closed cleanly.
    ///
    /// Pings are answered, and queued messages are written, before it waits. After our Close, messages are
    /// discarded, and the peer's Close is waited for.
    ///
    /// The stream's read timeout passes only while nothing arrives. With a peer that sends pings or a long
    /// message, a byte now and then, this may not return for as long as it does. [`recv_event`](Self::recv_event)
    /// returns with each control frame.
    ///
    /// # Errors
    ///
    /// The reason why the connection ended, once; then it returns `None`. Everything received whole comes before that.
    /// An error that [`may_repeat`](super::may_repeat) is no end.
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        loop {
            match self.next()? {
                Some(Event::Message(message)) => {
                    self.connection.receive_paused(Instant::now());
                    return Ok(Some(message));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Receives the next event, also a control frame; `None` once the connection was closed cleanly.
    ///
    /// Pings are answered all the same, unless [`Config::auto_pong`] is disabled.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        let event = self.next()?;
        self.connection.receive_paused(Instant::now());
        Ok(event)
    }

    /// Sends a message; when this returns, the stream has it.
    ///
    /// If the stream takes only a part of it before its timeout, that is no error: the rest leaves with the next call of
    /// any kind, and [`flush`](Self::flush) waits for it. A message is accepted while no more waits
    /// than [`Config::max_send_queue`] and [`max_send_messages`](Config::max_send_messages) allow.
    ///
    /// # Errors
    ///
    /// With any error nothing of the message was queued, or it will never leave: [`Error::Closed`] once the
    /// closing handshake has begun or writing has failed, [`Error::Io`] for the stream's errors. One that
    /// [`may_repeat`](super::may_repeat) means that too much waits already: send a clone again, as this call has
    /// consumed the message.
    pub fn send(&mut self, message: impl Into<Outbound>) -> Result<(), Error> {
        self.check_writable()?;
        if self.connection.is_full() {
            self.flush()?;
        }
        let queued = self.connection.send(message);
        queued.map_err(|_| Error::Closed)?;
        self.write_queued()
    }

    /// Sends a ping; a payload longer than 125 bytes is truncated.
    ///
    /// Its pong is an event of [`recv_event`](Self::recv_event).
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.check_writable()?;
        if self.connection.is_full() {
            self.flush()?;
        }
        let queued = self.connection.ping(payload);
        queued.map_err(|_| Error::Closed)?;
        self.write_queued()
    }

    /// Sends a pong; a payload longer than 125 bytes is truncated.
    ///
    /// Pings are answered without it, unless [`Config::auto_pong`] is disabled.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.check_writable()?;
        if self.connection.is_full() {
            self.flush()?;
        }
        let queued = self.connection.pong(payload);
        queued.map_err(|_| Error::Closed)?;
        self.write_queued()
    }

    /// Writes everything that was sent.
    ///
    /// # Errors
    ///
    /// Those of the stream. One that [`may_repeat`](super::may_repeat) means that the rest still waits.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Closed);
        }
        match self.write() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.not_written(error)),
        }
    }

    /// Closes the connection, and waits for the peer to do so: the closing handshake of RFC 6455 §7.1.2.
    ///
    /// All sent messages leave before the Close frame. Messages that were not received are discarded. Only the
    /// first Close counts: if one was sent or received before, this only waits for the end. If the stream has a read
    /// timeout, it waits for [`Config::close_timeout`] at most; call it again after an error
    /// that [`may_repeat`](super::may_repeat).
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub fn close(&mut self, frame: impl Into<CloseFrame>) -> Result<(), Error> {
        let _closing_already = self.connection.close(frame);
        while self.next()?.is_some() {}
        Ok(())
    }

    fn check_writable(&self) -> Result<(), Error> {
        if self.broken || self.connection.state() != State::Open {
            return Err(Error::Closed);
        }
        Ok(())
    }
}

impl<S> WebSocket<S> {
    /// Returns the subprotocol that was agreed on, if there is one.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// Reports whether messages can be sent: neither end has sent a Close.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.state() == State::Open && !self.broken
    }

    /// Returns the peer's Close frame, once [`recv`](Self::recv) has reached it.
    ///
    /// It is `None`, too, if that frame has neither code nor reason.
    #[must_use]
    pub fn received_close(&self) -> Option<&CloseFrame> {
        self.received_close.as_ref()?.as_ref()
    }

    /// Returns the stream, for example to read its address.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Returns the stream, to set its timeouts.
    ///
    /// Reading from it or writing to it breaks the connection.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Returns the stream.
    ///
    /// What was read from it and not received is lost, and so is what waits to be written.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.stream
    }
}

/// How much is read at once.
const READ: usize = 16 << 10;
