//! What many hostile peers together can make a server allocate.
//!
//! A binary of its own: its allocator counts, and nothing else may run meanwhile.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Request, Response, StatusCode, header};
use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Builder,
    time::{Instant, sleep},
};
use tower::{Service, ServiceExt};
use tower_websocket::{
    Config, Connections, Error, MemoryBudget, WebSocket, WebSocketLayer, handler,
    service::{OnUpgrade, ResponseBody},
    session::EndedBy,
    testing::{self, ConnectError, Empty},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MESSAGE: usize = 1 << 20;
const BUDGET: usize = 256 << 20;

/// How many connections do nothing wrong meanwhile.
const HONEST: usize = 20;

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// A peer that sends all but the last byte of a message as fast as it is read, and says nothing more.
struct HalfOpen {
    crowd: Arc<Crowd>,
    sent: usize,
    /// What the server has sent to it.
    received: Vec<u8>,
}

/// What all of them have in common.
#[derive(Default)]
struct Crowd {
    /// Those who wait for the beginning; `None` once it has come.
    waiting: Mutex<Option<Vec<Waker>>>,
    /// How many got the code 1013, and how many another.
    overloaded: AtomicUsize,
    others: AtomicUsize,
}

impl Crowd {
    fn new() -> Arc<Self> {
        let crowd = Self::default();
        *lock(&crowd.waiting) = Some(Vec::new());
        Arc::new(crowd)
    }

    fn begin(&self) {
        let waiting = lock(&self.waiting).take();
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

impl AsyncRead for HalfOpen {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(waiting) = &mut *lock(&self.crowd.waiting) {
            waiting.push(cx.waker().clone());
            return Poll::Pending;
        }
        // FIN and binary, masked with zeroes, of a length in eight bytes.
        let mut header = vec![0x82, 0x80 | 127];
        header.extend((MESSAGE as u64).to_be_bytes());
        header.extend([0; 4]);
        let all = header.len() + MESSAGE - 1;
        if self.sent == all {
            return Poll::Pending;
        }
        if self.sent < header.len() {
            let piece = &header[self.sent..][..buf.remaining().min(header.len() - self.sent)];
            buf.put_slice(piece);
            self.sent += piece.len();
        }
        let zeroes = buf.remaining().min(all - self.sent);
        buf.initialize_unfilled_to(zeroes).fill(0);
        buf.advance(zeroes);
        self.sent += zeroes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HalfOpen {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.received.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for HalfOpen {
    /// Takes the code of the Close frame, which is all that came.
    fn drop(&mut self) {
        let counted = match self.received[..] {
            [0x88, _, 0x03, 0xf5, ..] => &self.crowd.overloaded,
            _ => &self.crowd.others,
        };
        counted.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server whose connections have one budget.
struct Server {
    config: Config,
    connections: Connections,
    ended: Arc<Mutex<Vec<EndedBy>>>,
}

impl Server {
    fn new(budget: &MemoryBudget) -> Self {
        Self {
            config: Config::default().memory_budget(budget),
            connections: Connections::new(),
            ended: Arc::default(),
        }
    }

    fn endpoint(
        &self,
    ) -> impl Service<Request<Empty>, Response = Answer, Error = Infallible> + use<> {
        let ended = self.ended.clone();
        WebSocketLayer::new(handler(echo))
            .config(self.config.clone())
            .connections(&self.connections)
            .on_end(move |report| lock(&ended).push(report.ended_by))
            .endpoint()
    }

    /// Opens a connection with a peer that will leave its message half open.
    async fn open(&self, shape: Shape, crowd: &Arc<Crowd>) -> StatusCode {
        let stream = HalfOpen {
            crowd: crowd.clone(),
            sent: 0,
            received: Vec::new(),
        };
        let request = shape.request().extension(OnUpgrade::new(stream));
        let response = self.endpoint().oneshot(request.into_request()).await;
        response.expect("the layer makes no errors").status()
    }

    /// Tries to open a connection.
    async fn connect(&self, shape: Shape) -> Result<WebSocket, Response<()>> {
        let connected = testing::connect(self.endpoint(), shape.request()).await;
        match connected {
            Ok((_, socket)) => Ok(socket),
            Err(ConnectError::Rejected(response)) => Err(response.map(drop)),
            Err(error) => panic!("{error}"),
        }
    }
}

type Answer = Response<ResponseBody<String>>;

#[derive(Clone, Copy, Debug)]
enum Shape {
    H1,
    H2,
}

impl Shape {
    fn request(self) -> testing::TestRequest<Empty> {
        match self {
            Self::H1 => testing::request("/"),
            Self::H2 => testing::request("/").http2(),
        }
    }
}

/// Sends a message over each of these, and gets it back before any time has passed.
async fn echo_over(honest: &mut [WebSocket]) {
    let start = Instant::now();
    let message = vec![7; 4 << 10];
    for socket in honest {
        socket.send(message.clone()).await.expect("it is open");
        let answer = socket.recv().await.expect("it is open");
        assert_eq!(answer.expect("it is open").as_bytes(), message);
    }
    assert!(start.elapsed() < Duration::from_millis(1), "they waited");
}

/// What was seen while the budget was used up.
#[derive(Debug, Default)]
struct Seen {
    most: usize,
    refused: usize,
    lasted: Duration,
}

/// Looks on, as one who connects and sends, until only the honest connections are left.
async fn look_on(
    server: &Server,
    shape: Shape,
    budget: &MemoryBudget,
    honest: &mut [WebSocket],
) -> Seen {
    let begin = Instant::now();
    let mut seen = Seen::default();
    while server.connections.len() > HONEST {
        // At first there is more to be seen.
        let early = begin.elapsed() < Duration::from_secs(1);
        sleep(Duration::from_millis(if early { 10 } else { 1000 })).await;
        assert!(begin.elapsed() < Duration::from_secs(1000), "they stay");
        seen.most = seen.most.max(budget.used());
        echo_over(honest).await;
        let nearly = budget.is_nearly_used_up();
        match server.connect(shape).await {
            Ok(socket) => {
                assert!(!nearly);
                drop(socket);
                sleep(Duration::from_millis(1)).await;
            }
            Err(response) => {
                assert!(nearly);
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
                assert_eq!(response.headers()[header::RETRY_AFTER], "5");
                seen.refused += 1;
            }
        }
    }
    seen.lasted = begin.elapsed();
    seen
}

/// T43 of the threats: bounded memory, and honest connections go on.
async fn half_open_messages_stay_within_the_budget_of(shape: Shape, peers: usize) {
    let budget = MemoryBudget::new(BUDGET);
    let (server, crowd) = (Server::new(&budget), Crowd::new());
    let mut honest = Vec::new();
    for _ in 0..HONEST {
        honest.push(server.connect(shape).await.expect("there is room"));
    }
    for _ in 0..peers {
        assert!(server.open(shape, &crowd).await.as_u16() < 300);
    }
    echo_over(&mut honest).await;
    assert_eq!(budget.used(), 0, "who keeps up costs nothing");
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();

    crowd.begin();
    let seen = look_on(&server, shape, &budget, &mut honest).await;
    let peak = ALLOCATOR.peak_usage() - before;
    let overloaded = crowd.overloaded.load(Ordering::Relaxed);
    let others = crowd.others.load(Ordering::Relaxed);
    println!("{shape:?}: {seen:?}, heap {peak} at most, {overloaded} with 1013, {others} without");
    assert!(seen.refused > 0);
    // What each connection takes beside what it receives.
    assert!(peak <= BUDGET + BUDGET / 8, "{peak} bytes");
    assert!(seen.most <= BUDGET + BUDGET / 16, "{} bytes", seen.most);
    assert_eq!(budget.used(), 0);
    // Those whose message came in whole but for a byte end at a deadline.
    assert!(
        overloaded > peers / 2,
        "{overloaded} were told to come later"
    );
    assert_eq!(budget.closed() as usize, overloaded);
    let by_budget = |by: &&EndedBy| **by == EndedBy::OverBudget;
    assert_eq!(
        lock(&server.ended).iter().filter(by_budget).count(),
        overloaded
    );
    echo_over(&mut honest).await;
}

#[test]
fn half_open_messages_stay_within_the_budget() {
    for (shape, peers) in [(Shape::H1, 20_000), (Shape::H2, 4_000)] {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(half_open_messages_stay_within_the_budget_of(shape, peers));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
