//! What the tests of the session share: a peer that speaks bytes, and transports that misbehave.

use std::{
    fmt,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tower::{BoxError, Service, ServiceExt, util::BoxCloneService};
use tower_websocket::{
    Config, Error, WebSocket, WebSocketLayer, handler,
    service::{HandlerOutput, OnUpgrade},
    session::SessionReport,
    testing,
};

/// The two kinds of stream a session runs over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    H1,
    H2,
}

pub(crate) const SHAPES: [Shape; 2] = [Shape::H1, Shape::H2];

impl Shape {
    fn request(self) -> testing::TestRequest<testing::Empty> {
        match self {
            Self::H1 => testing::request("/"),
            Self::H2 => testing::request("/").http2(),
        }
    }

    fn accepted(self) -> StatusCode {
        match self {
            Self::H1 => StatusCode::SWITCHING_PROTOCOLS,
            Self::H2 => StatusCode::OK,
        }
    }
}

/// Sends every message back.
pub(crate) async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Opens a connection with `route` as its handler, in memory.
pub(crate) async fn open<F, Fut>(shape: Shape, config: Config, route: F) -> (Peer, Reports)
where
    F: FnMut(WebSocket) -> Fut + Clone + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: HandlerOutput,
{
    let (ours, theirs) = duplex(PIPE);
    let reports = serve(shape, config, handler(route), theirs).await;
    (Peer::new(ours), reports)
}

/// Opens a connection whose socket is in the hands of the test.
pub(crate) async fn hold(shape: Shape, config: Config) -> (Peer, WebSocket, Reports) {
    let (ours, theirs) = duplex(PIPE);
    let (socket, reports) = hold_over(shape, config, theirs).await;
    (Peer::new(ours), socket, reports)
}

/// As [`hold`], on a connection that agreed on compression, which `config` allows.
pub(crate) async fn hold_compressed(shape: Shape, config: Config) -> (Peer, WebSocket) {
    let (ours, theirs) = duplex(PIPE);
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let route = handler(move |socket| {
        let _gone = sender.send(socket);
        std::future::ready(())
    });
    let request = shape
        .request()
        .header("sec-websocket-extensions", "permessage-deflate")
        .extension(OnUpgrade::new(theirs));
    let service = WebSocketLayer::new(route).config(config).endpoint();
    let response = service.oneshot(request.into_request()).await;
    let response = response.expect("the layer makes no errors");
    assert!(response.headers().contains_key("sec-websocket-extensions"));
    let socket = within(sockets.recv()).await;
    (Peer::new(ours), socket.expect("the handler was called"))
}

/// As [`hold`], over any stream.
pub(crate) async fn hold_over(
    shape: Shape,
    config: Config,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
) -> (WebSocket, Reports) {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let route = handler(move |socket| {
        let _gone = sender.send(socket);
        std::future::ready(())
    });
    let reports = serve(shape, config, route, stream).await;
    let socket = within(sockets.recv()).await;
    (socket.expect("the handler was called"), reports)
}

/// Any error, as one type: of `BoxError` itself the compiler cannot see that tasks may be sent.
#[derive(Debug)]
pub(crate) struct Failure(BoxError);

impl Failure {
    pub(crate) fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

impl From<Failure> for BoxError {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

/// Opens a connection over `stream`, with any route service.
pub(crate) async fn serve<H>(
    shape: Shape,
    config: Config,
    route: H,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
) -> Reports
where
    H: Service<Request<WebSocket>, Response = ()> + Clone + Send + 'static,
    H::Error: Into<BoxError>,
    H::Future: Send + 'static,
{
    let (sender, reports) = mpsc::unbounded_channel();
    // One type for all tests: each would be compiled with a session of its own.
    let route = BoxCloneService::new(route.map_err(Failure::new));
    let service = WebSocketLayer::new(route)
        .config(config)
        .on_end(move |report| {
            let _gone = sender.send(Box::new(report.clone()));
        })
        .endpoint();
    let request = shape.request().extension(OnUpgrade::new(stream));
    let response = service.oneshot(request.into_request()).await;
    let response = response.expect("the layer makes no errors");
    assert_eq!(response.status(), shape.accepted());
    Reports(reports)
}

/// Waits for something that has to come, under a clock that is paused or not.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let output = timeout(GUARD, future).await.expect("it does not hang");
    // The guard polls once more when its time is over, which is not to stand in for a wake.
    assert!(start.elapsed() < GUARD, "nobody woke what was ready");
    output
}

/// Polls a future once, as a `select!` does that then takes another branch.
pub(crate) async fn once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Waits until every task waits: the paused clock moves only then.
pub(crate) async fn idle() {
    sleep(Duration::from_millis(1)).await;
}

/// The reports of one connection.
///
/// Boxed: a channel has memory for 32 of what is sent over it, which is not the connection's.
pub(crate) struct Reports(mpsc::UnboundedReceiver<Box<SessionReport>>);

impl Reports {
    /// The first report.
    pub(crate) async fn first(&mut self) -> SessionReport {
        *within(self.0.recv()).await.expect("a session reports")
    }

    /// The one report of a session, after which session and handles are gone.
    pub(crate) async fn only(mut self) -> SessionReport {
        let report = self.first().await;
        self.no_more().await;
        report
    }

    /// Waits until session and handles are gone, without another report.
    pub(crate) async fn no_more(mut self) {
        let second = within(self.0.recv()).await;
        assert!(second.is_none(), "a session reports once: {second:?}");
    }

    /// Whether the session goes on.
    pub(crate) fn none_yet(&mut self) -> bool {
        matches!(self.0.try_recv(), Err(mpsc::error::TryRecvError::Empty))
    }
}

/// A frame as a server sends it.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Frame {
    /// FIN, reserved bits and opcode.
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn text(text: &str) -> Self {
        Self {
            first: 0x81,
            payload: text.into(),
        }
    }

    pub(crate) fn binary(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            first: 0x82,
            payload: payload.into(),
        }
    }

    pub(crate) fn ping(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            first: 0x89,
            payload: payload.into(),
        }
    }

    pub(crate) fn pong(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            first: 0x8a,
            payload: payload.into(),
        }
    }

    /// Whether the session asks for a sign of life, with a payload of its own.
    pub(crate) fn is_ping(&self) -> bool {
        self.first == 0x89 && self.payload.len() == 8
    }

    pub(crate) fn is_close(&self) -> bool {
        self.first == 0x88
    }

    /// The code of a Close frame.
    pub(crate) fn code(&self) -> Option<u16> {
        let code = self.payload.first_chunk().filter(|_| self.is_close());
        code.map(|code| u16::from_be_bytes(*code))
    }

    /// Whether a message begins here that is compressed (RFC 7692 §6).
    pub(crate) fn is_compressed(&self) -> bool {
        self.first & 0x40 != 0
    }

    /// The frame as it came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.first];
        match self.payload.len() {
            len @ 0..126 => bytes.push(len as u8),
            len @ 126..65_536 => {
                bytes.push(126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(&self.payload);
        bytes
    }

    /// Takes one frame from the front of what was received.
    pub(crate) fn take(received: &mut Vec<u8>) -> Option<Self> {
        let (&[first, second], rest) = received.split_first_chunk()?;
        assert_eq!(second & 0x80, 0, "a server masks nothing");
        let (start, len) = match second {
            126 => (4, u16::from_be_bytes(*rest.first_chunk()?) as usize),
            127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
            len => (2, len.into()),
        };
        let payload = received.get(start..start + len)?.to_vec();
        received.drain(..start + len);
        Some(Self { first, payload })
    }

    /// Reads all frames of a recording, and whether the last one was whole.
    pub(crate) fn all(mut recording: Vec<u8>) -> (Vec<Self>, bool) {
        let mut frames = Vec::new();
        while let Some(frame) = Self::take(&mut recording) {
            frames.push(frame);
        }
        (frames, recording.is_empty())
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.payload[..self.payload.len().min(40)];
        let len = self.payload.len();
        write!(
            f,
            "{:#x} {:?} ({len})",
            self.first,
            shown.escape_ascii().to_string()
        )
    }
}

/// The far end of a connection, which speaks bytes.
pub(crate) struct Peer<S = DuplexStream> {
    pub(crate) stream: S,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            received: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = within(self.stream.write_all(bytes.as_ref())).await;
        sent.expect("the server reads");
        within(self.stream.flush()).await.expect("the server reads");
    }

    /// Receives a frame; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.received) {
                return Some(frame);
            }
            let read = within(self.stream.read_buf(&mut self.received)).await;
            if read.expect("the stream ends in order") == 0 {
                assert!(self.received.is_empty(), "the last frame is whole");
                return None;
            }
        }
    }

    /// Receives a frame, which has to come.
    pub(crate) async fn frame(&mut self) -> Frame {
        self.next().await.expect("a frame comes")
    }

    /// Receives whatever comes up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// Ends this side of the stream.
    pub(crate) async fn finish(&mut self) {
        within(self.stream.shutdown()).await.expect("a stream ends");
    }
}

/// A frame as a client sends it, from its first byte and payload.
pub(crate) fn client_frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut frame = client_header(first, payload.len() as u64);
    let masked = payload.iter().zip(KEY.iter().cycle());
    frame.extend(masked.map(|(byte, key)| byte ^ key));
    frame
}

/// The header of a client's frame that declares `len` bytes.
pub(crate) fn client_header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..126 => header.push(0x80 | len as u8),
        126..65_536 => {
            header.push(0x80 | 126);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(len.to_be_bytes());
        }
    }
    header.extend(KEY);
    header
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    client_frame(0x81, text)
}

pub(crate) fn binary(payload: impl AsRef<[u8]>) -> Vec<u8> {
    client_frame(0x82, payload)
}

pub(crate) fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    client_frame(0x89, payload)
}

pub(crate) fn pong(payload: impl AsRef<[u8]>) -> Vec<u8> {
    client_frame(0x8a, payload)
}

pub(crate) fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = [&code.to_be_bytes()[..], reason.as_ref()].concat();
    client_frame(0x88, payload)
}

/// How a [`Wire`] behaves; by default like the stream under it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) max_read: Option<usize>,
    pub(crate) max_write: Option<usize>,
    /// Every other operation or so has to be tried again; decided by this seed.
    pub(crate) pending: Option<u64>,
    /// What happens at which operation.
    pub(crate) fault: Option<(usize, Fault)>,
    /// Nothing is ever written.
    pub(crate) unwritable: bool,
    pub(crate) vectored: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// This operation fails, and all later ones.
    Error,
    /// This operation and all later ones of its kind wait for ever.
    Stall,
}

/// What happened on a [`Wire`].
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) operations: usize,
    pub(crate) write_attempts: usize,
    /// The size of every write.
    pub(crate) writes: Vec<usize>,
    /// All bytes read.
    pub(crate) read: u64,
}

type WriteHook = Box<dyn FnMut() + Send>;

/// A stream that counts, cuts and fails.
pub(crate) struct Wire<S = DuplexStream> {
    stream: S,
    plan: Plan,
    log: Arc<Mutex<Log>>,
    on_write: Option<WriteHook>,
    failed: bool,
    stalled: [bool; 2],
}

const READ: usize = 0;
const WRITE: usize = 1;

impl<S> Wire<S> {
    pub(crate) fn new(stream: S, plan: Plan) -> Self {
        Self {
            stream,
            plan,
            log: Arc::default(),
            on_write: None,
            failed: false,
            stalled: [false; 2],
        }
    }

    /// Calls `hook` in every write, as another thread would act while one is under way.
    pub(crate) fn on_write(mut self, hook: impl FnMut() + Send + 'static) -> Self {
        self.on_write = Some(Box::new(hook));
        self
    }

    pub(crate) fn log(&self) -> Arc<Mutex<Log>> {
        self.log.clone()
    }

    /// Counts an operation, and decides whether it goes on.
    fn poll_operation(&mut self, cx: &Context<'_>, kind: usize) -> Poll<io::Result<()>> {
        let mut log = lock(&self.log);
        log.operations += 1;
        log.write_attempts += kind;
        if log.operations > RUNAWAY || self.failed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if let Some((at, fault)) = self.plan.fault
            && at == log.operations - 1
        {
            match fault {
                Fault::Error => {
                    self.failed = true;
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Fault::Stall => self.stalled[kind] = true,
            }
        }
        if self.stalled[kind] || (kind == WRITE && self.plan.unwritable) {
            return Poll::Pending;
        }
        if let Some(seed) = &mut self.plan.pending {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if *seed >> 63 == 1 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_operation(cx, READ))?;
        let room = buf
            .remaining()
            .min(this.plan.max_read.unwrap_or(usize::MAX));
        let mut bytes = vec![0; room];
        let mut piece = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
        lock(&this.log).read += piece.filled().len() as u64;
        buf.put_slice(piece.filled());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_operation(cx, WRITE))?;
        if let Some(hook) = &mut this.on_write {
            hook();
        }
        let mut room = this.plan.max_write.unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        for slice in slices {
            let piece = &slice[..slice.len().min(room)];
            bytes.extend_from_slice(piece);
            room -= piece.len();
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &bytes))?;
        lock(&this.log).writes.push(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.plan.vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_operation(cx, WRITE))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_operation(cx, WRITE))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A masking key that changes every byte.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What the in-memory streams hold in each direction.
pub(crate) const PIPE: usize = 64 << 10;

/// Longer than any deadline of a test; under a paused clock it passes at once.
const GUARD: Duration = Duration::from_secs(20 * 3600);

/// More operations than any conversation here takes: the session runs in circles.
const RUNAWAY: usize = 200_000;
