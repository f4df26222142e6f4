//! One HTTP/2 connection of the client, with all its WebSockets.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use tokio::net::{TcpSocket, TcpStream};

use crate::wire::{self, Message, bad};

/// What all connections have seen.
#[derive(Default)]
pub(crate) struct Seen {
    /// Messages of a broadcast.
    pub(crate) broadcast: Cell<u64>,
    /// Pings, which were answered.
    pub(crate) pings: Cell<u64>,
    /// Close frames by their codes.
    pub(crate) codes: RefCell<BTreeMap<u16, u64>>,
    /// Streams that the server has ended, and those among them that it has reset, which it may do only
    /// when all are closed.
    pub(crate) ended: Cell<u64>,
    pub(crate) reset: Cell<u64>,
    pub(crate) closing: Cell<bool>,
    /// How a connection failed, if one has.
    pub(crate) failure: RefCell<Option<io::Error>>,
}

/// An HTTP/2 connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// What the kernel has not taken yet.
    unsent: RefCell<Vec<u8>>,
    /// The rest of what was read, of a frame that is not whole.
    rest: RefCell<Vec<u8>>,
    /// The same of WebSockets: hardly ever any.
    pieces: RefCell<HashMap<u32, Vec<u8>>>,
    /// The server allows Extended CONNECT.
    allowed: Cell<bool>,
    opened: Cell<usize>,
    /// Messages that came back, and the stream of the last.
    echoes: Cell<usize>,
    last: Cell<u32>,
    /// Who waits for one of these.
    waiting: RefCell<Option<Waker>>,
    /// The task reads no more, and lets the connection go.
    over: Cell<bool>,
    /// The task, for when it has to look at what is unsent, or over.
    reading: RefCell<Option<Waker>>,
    /// DATA comes back as it was sent.
    raw: bool,
    seen: Rc<Seen>,
}

impl Connection {
    /// Connects, and has a task of this thread read from then on.
    pub(crate) async fn open(
        port: u16,
        number: usize,
        raw: bool,
        seen: &Rc<Seen>,
    ) -> io::Result<Rc<Self>> {
        let socket = TcpSocket::new_v4()?;
        // From many addresses, so that the ports of one do not run out.
        let from = Ipv4Addr::new(127, 0, 0, (1 + number / 4_000 % 200) as u8);
        socket.bind(SocketAddr::from((from, 0)))?;
        let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        stream.set_nodelay(true)?;
        // No port waits in TIME-WAIT when the run is over.
        stream.set_zero_linger()?;
        let connection = Rc::new(Self {
            stream,
            unsent: RefCell::default(),
            rest: RefCell::default(),
            pieces: RefCell::default(),
            allowed: Cell::new(raw),
            opened: Cell::new(0),
            echoes: Cell::new(0),
            last: Cell::new(0),
            waiting: RefCell::default(),
            over: Cell::new(false),
            reading: RefCell::default(),
            raw,
            seen: seen.clone(),
        });
        connection.send(&wire::opening())?;
        let reader = connection.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = poll_fn(|cx| reader.poll(cx)).await {
                reader.seen.failure.borrow_mut().get_or_insert(error);
                reader.wake();
            }
        });
        connection.until(|| connection.allowed.get()).await?;
        Ok(connection)
    }

    /// Opens so many WebSockets, one after the other, and has a message echoed on each.
    pub(crate) async fn open_streams(&self, streams: usize, request: &[u8]) -> io::Result<()> {
        for index in 0..streams {
            let mut bytes = Vec::new();
            let stream = stream(index);
            wire::frame(
                &mut bytes,
                wire::HEADERS,
                wire::END_HEADERS,
                stream,
                request,
            );
            self.send(&bytes)?;
            self.until(|| self.opened.get() > index).await?;
            self.echo(index).await?;
        }
        Ok(())
    }

    /// Has a message echoed on one; nobody else may on this connection meanwhile.
    pub(crate) async fn echo(&self, index: usize) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(64);
        wire::message(&mut bytes, stream(index), wire::BINARY, &ECHO, false);
        let wanted = self.echoes.get() + 1;
        self.send(&bytes)?;
        self.until(|| self.echoes.get() == wanted).await?;
        if self.last.get() == stream(index) {
            Ok(())
        } else {
            Err(bad("an echo on another stream"))
        }
    }

    /// Ends it; its WebSockets are broken off.
    pub(crate) fn end(&self) {
        self.over.set(true);
        if let Some(reader) = self.reading.take() {
            reader.wake();
        }
    }

    /// Waits for something that this connection reads.
    async fn until(&self, done: impl Fn() -> bool) -> io::Result<()> {
        poll_fn(|cx| {
            if let Some(error) = self.seen.failure.borrow_mut().take() {
                return Poll::Ready(Err(error));
            }
            if done() {
                return Poll::Ready(Ok(()));
            }
            self.waiting.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await
    }

    fn wake(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Sends at once what the kernel takes, and leaves the rest to the task.
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let mut unsent = self.unsent.borrow_mut();
        unsent.extend(bytes);
        self.flush(&mut unsent)?;
        if !unsent.is_empty()
            && let Some(reader) = self.reading.take()
        {
            reader.wake();
        }
        Ok(())
    }

    fn flush(&self, unsent: &mut Vec<u8>) -> io::Result<()> {
        while !unsent.is_empty() {
            match self.stream.try_write(unsent) {
                Ok(sent) => drop(unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        *unsent = Vec::new();
        Ok(())
    }

    /// The task: writes what is left, reads what is there.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.over.get() {
            return Poll::Ready(Ok(()));
        }
        self.reading.replace(Some(cx.waker().clone()));
        loop {
            let mut unsent = self.unsent.borrow_mut();
            self.flush(&mut unsent)?;
            if unsent.is_empty() || self.stream.poll_write_ready(cx)?.is_pending() {
                break;
            }
        }
        while self.stream.poll_read_ready(cx)?.is_ready() {
            SCRATCH.with_borrow_mut(|scratch| match self.stream.try_read(scratch) {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.read(&scratch[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Err(error) => Err(error),
            })?;
        }
        Poll::Pending
    }

    /// Takes in what was read.
    fn read(&self, bytes: &[u8]) -> io::Result<()> {
        let mut before = self.rest.take();
        before.extend(bytes);
        let mut bytes = before.as_slice();
        let mut answer = Vec::new();
        while let Some((head, payload)) = wire::take_frame(&mut bytes) {
            self.frame(head, payload, &mut answer)?;
        }
        self.rest.replace(bytes.to_vec());
        if !answer.is_empty() {
            self.send(&answer)?;
        }
        self.wake();
        Ok(())
    }

    fn frame(&self, head: wire::Head, payload: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
        match head.kind {
            wire::DATA if self.raw => {
                self.echoes.set(self.echoes.get() + payload.len() / RAW_LEN);
                self.last.set(head.stream);
            }
            wire::DATA => self.data(head.stream, payload, answer)?,
            wire::HEADERS => {
                let status = (head.flags & wire::END_STREAM == 0).then(|| payload.first());
                if status.flatten() != Some(&wire::OK) {
                    return Err(bad("a handshake was refused"));
                }
                self.opened.set(self.opened.get() + 1);
            }
            wire::SETTINGS if head.flags & wire::ACK == 0 => {
                if payload.chunks(6).any(|one| one == wire::EXTENDED_CONNECT) {
                    self.allowed.set(true);
                }
                wire::frame(answer, wire::SETTINGS, wire::ACK, 0, &[]);
            }
            wire::PING if head.flags & wire::ACK == 0 => {
                wire::frame(answer, wire::PING, wire::ACK, 0, payload);
            }
            wire::RST_STREAM if self.seen.closing.get() => {
                self.seen.reset.set(self.seen.reset.get() + 1);
                self.seen.ended.set(self.seen.ended.get() + 1);
            }
            wire::RST_STREAM => return Err(bad(&format!("a stream was reset: {payload:?}"))),
            wire::GOAWAY => return Err(bad("the connection was given up")),
            _ => {}
        }
        if head.kind == wire::DATA && head.flags & wire::END_STREAM != 0 {
            self.seen.ended.set(self.seen.ended.get() + 1);
        }
        Ok(())
    }

    /// Takes in bytes of one WebSocket.
    fn data(&self, stream: u32, payload: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
        let mut pieces = self.pieces.borrow_mut();
        let before = pieces.remove(&stream).map(|mut before| {
            before.extend(payload);
            before
        });
        let mut data = before.as_deref().unwrap_or(payload);
        while let Some(message) = wire::take_message(&mut data)? {
            self.message(stream, message, answer)?;
        }
        if !data.is_empty() {
            pieces.insert(stream, data.to_vec());
        }
        Ok(())
    }

    fn message(&self, stream: u32, message: Message<'_>, answer: &mut Vec<u8>) -> io::Result<()> {
        let Message { opcode, payload } = message;
        match opcode {
            wire::BINARY if payload == ECHO => {
                self.echoes.set(self.echoes.get() + 1);
                self.last.set(stream);
            }
            wire::BINARY if payload.iter().all(|byte| *byte == BROADCAST) => {
                self.seen.broadcast.set(self.seen.broadcast.get() + 1);
            }
            wire::WS_PING => {
                self.seen.pings.set(self.seen.pings.get() + 1);
                wire::message(answer, stream, wire::WS_PONG, payload, false);
            }
            wire::CLOSE => {
                let code = match payload {
                    [high, low, ..] => u16::from_be_bytes([*high, *low]),
                    _ => 1005,
                };
                *self.seen.codes.borrow_mut().entry(code).or_default() += 1;
                wire::message(
                    answer,
                    stream,
                    wire::CLOSE,
                    &payload[..payload.len().min(2)],
                    true,
                );
            }
            _ => return Err(bad("a message that nobody sent")),
        }
        Ok(())
    }
}

fn stream(index: usize) -> u32 {
    2 * index as u32 + 1
}

thread_local! {
    /// What all connections read into.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 256 << 10]);
}

/// What is echoed: 20 bytes.
const ECHO: [u8; 20] = *b"twenty bytes of text";

/// Its length on the wire, with WebSocket's header.
const RAW_LEN: usize = 6 + ECHO.len();

/// What every byte of a broadcast is.
pub(crate) const BROADCAST: u8 = b'b';
