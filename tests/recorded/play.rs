//! One conversation: a peer as it was recorded, and the crate at the other end of the line.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use http::Request;
use tokio::{
    runtime::{Builder, Handle},
    time::{Instant, sleep},
};
use tower_websocket::{
    CloseCode, CloseFrame, Compression, Config, Connections, Error, Message, OriginPolicy,
    WebSocket, WebSocketLayer,
    client::{Client, HttpVersion},
    handler, serve,
    serve::Listener,
    session::{Counters, Drain, SessionReport},
};

use crate::lock;
use crate::{
    line::{Line, Plan, Seen},
    reading::{Ending, Recording, Spoken},
    script::{ABORT_NOW, CLOSE_ME, OUR_CLOSE, PEER_CLOSE, Said, messages},
};

/// What one run of a conversation shows.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) operations: usize,
    pub(super) spins: bool,
    /// Bytes of the peer that were read.
    pub(super) read: usize,
    /// What the application received.
    pub(super) received: Vec<Said>,
    /// What was written.
    pub(super) sent: Spoken,
    /// Sockets that there were.
    pub(super) opened: usize,
    /// Those whose handler has returned, or was dropped.
    pub(super) returned: usize,
    pub(super) reports: Vec<SessionReport>,
    /// Those of a server.
    pub(super) counters: Option<Counters>,
    /// What is left when all is over.
    pub(super) tasks: usize,
}

/// What happens at our end.
#[derive(Clone, Default)]
struct Ours {
    received: Arc<Mutex<Vec<Said>>>,
    reports: Arc<Mutex<Vec<SessionReport>>>,
    opened: Arc<AtomicUsize>,
    returned: Arc<AtomicUsize>,
}

/// Counts an application that is gone, however that came.
struct Returned(Ours);

impl Drop for Returned {
    fn drop(&mut self) {
        self.0.returned.fetch_add(1, Ordering::Relaxed);
    }
}

/// Holds the conversation over a line that follows `plan`.
pub(super) fn play(recording: &Recording, plan: Plan) -> Run {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let line = Line::new(recording, plan);
    let (seen, ours) = (line.seen(), Ours::default());
    let connections = Connections::new();
    let tasks = runtime.block_on(async {
        if recording.is_server {
            client(recording, line, &ours).await;
        } else {
            tokio::select! {
                served = serve(Once(Some(line)), app(&ours, &connections)) => drop(served.unwrap()),
                () = over(&seen) => {}
            }
        }
        over(&seen).await;
        let start = Instant::now();
        let _drained = connections.drain(Drain::default()).await;
        assert_eq!(start.elapsed(), Duration::ZERO, "a connection is left");
        Handle::current().metrics().num_alive_tasks()
    });
    let seen = lock(&seen);
    let stream = recording.http2.then_some(recording.stream);
    let sent = Spoken::read(
        &seen.written,
        stream,
        recording.is_server,
        recording.deflate,
    );
    Run {
        operations: seen.operations,
        spins: seen.spins,
        read: seen.read,
        received: lock(&ours.received).clone(),
        sent,
        opened: ours.opened.load(Ordering::Relaxed),
        returned: ours.returned.load(Ordering::Relaxed),
        reports: lock(&ours.reports).clone(),
        counters: (!recording.is_server).then(|| connections.counters()),
        tasks,
    }
}

/// Waits until the line is let go of and no task is left, as long as any deadline takes.
async fn over(seen: &Mutex<Seen>) {
    let start = Instant::now();
    while start.elapsed() < GUARD {
        sleep(Duration::from_millis(200)).await;
        if lock(seen).dropped && Handle::current().metrics().num_alive_tasks() == 0 {
            return;
        }
    }
}

/// The echo of `tests/recorded/ours.rs`.
fn app(ours: &Ours, connections: &Connections) -> Router {
    let route = {
        let ours = ours.clone();
        handler(move |socket| echo(socket, Returned(ours.clone())))
    };
    let layer = |config: Config| {
        let reports = ours.reports.clone();
        WebSocketLayer::new(route.clone())
            .config(config.origin(OriginPolicy::Any))
            .connections(connections)
            .on_end(move |report| lock(&reports).push(report.clone()))
            .endpoint()
    };
    let deflate = Config::default().compression(Compression::shared());
    Router::new()
        .route("/", get(async || "a page"))
        .route_service("/plain", layer(Config::default()))
        .route_service("/deflate", layer(deflate))
}

async fn echo(mut socket: WebSocket, returned: Returned) -> Result<(), Error> {
    let ours = &returned.0;
    ours.opened.fetch_add(1, Ordering::Relaxed);
    while let Some(message) = socket.recv().await? {
        lock(&ours.received).push(message.clone().into());
        if message.as_text() == Some(CLOSE_ME) {
            socket.close(frame(OUR_CLOSE));
        } else {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Connects, and says what is to be said.
async fn client(recording: &Recording, line: Line, ours: &Ours) {
    let mut config = Config::default();
    if recording.deflate {
        config = config.compression(Compression::shared());
    }
    let reports = ours.reports.clone();
    let client = Client::new()
        .config(config)
        .http_version(if recording.http2 {
            HttpVersion::Http2
        } else {
            HttpVersion::Http1
        })
        .on_end(move |report| lock(&reports).push(report.clone()));
    let path = if recording.deflate {
        "deflate"
    } else {
        "plain"
    };
    let mut request = Request::new(());
    *request.uri_mut() = format!("ws://localhost/{path}").parse().unwrap();
    if let Ok(response) = client.request_over(line, request).await {
        // An end by a fault is looked at in the report.
        let _failed = converse(response.into_body(), recording, Returned(ours.clone())).await;
    }
}

async fn converse(
    mut socket: WebSocket,
    recording: &Recording,
    returned: Returned,
) -> Result<(), Error> {
    let ours = &returned.0;
    ours.opened.fetch_add(1, Ordering::Relaxed);
    for said in messages(recording.deflate) {
        socket.send(said).await?;
        let Some(echo) = socket.recv().await? else {
            return Ok(());
        };
        lock(&ours.received).push(echo.into());
    }
    match recording.ending {
        Ending::Peer => socket.send(CLOSE_ME).await?,
        Ending::Abort => socket.send(ABORT_NOW).await?,
        Ending::Ours => socket.close(frame(PEER_CLOSE)),
    }
    while let Some(message) = socket.recv().await? {
        lock(&ours.received).push(message.into());
    }
    Ok(())
}

fn frame((code, reason): (u16, &str)) -> CloseFrame {
    CloseFrame::new(CloseCode::new(code).unwrap(), reason)
}

impl From<Message> for Said {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_string()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
        }
    }
}

impl From<Said> for Message {
    fn from(said: Said) -> Self {
        match said {
            Said::Text(text) => text.into(),
            Said::Binary(bytes) => bytes.into(),
        }
    }
}

impl Said {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Takes one connection.
struct Once(Option<Line>);

impl Listener for Once {
    type Io = Line;
    type Addr = ();

    async fn accept(&mut self) -> io::Result<(Line, ())> {
        match self.0.take() {
            Some(line) => Ok((line, ())),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Longer than any deadline.
const GUARD: Duration = Duration::from_secs(3600);
