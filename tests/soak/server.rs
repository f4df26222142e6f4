//! The server: a process of its own, so that what it holds is its own. Told what to do on standard input.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{self, BufRead, Write},
    panic,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, response::Html, routing::get};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::oneshot,
    task::JoinHandle,
    time::sleep,
};
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tower::BoxError;
use tower_websocket::{
    CloseCode, Connections, Groups, MemoryBudget, Message, WebSocket, WebSocketLayer, handler,
    serve,
    serve::Stopped,
    session::{Counters, Drain, SessionReport},
};

use super::kinds::{DRAINED, Does, KINDS, Kind, SOAKED};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs it until standard input ends: `sample` and `restart SECONDS`, each answered by a line of JSON.
/// The seconds are how long the next stop may take.
pub(crate) fn run() -> Result<(), BoxError> {
    // They are what some handlers are for.
    panic::set_hook(Box::new(|info| {
        let said = info.payload().downcast_ref::<&str>();
        if said != Some(&PANIC) {
            eprintln!("{info}");
        }
    }));
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut server = Server {
        certificate: certificate()?,
        ports: [0; 2],
        patience: PATIENCE,
        groups: Groups::new(),
        generation: None,
        wrong: Vec::new(),
    };
    server.start(&runtime)?;
    say(&json!({"plain": server.ports[0], "tls": server.ports[1]}))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            None if line == "sample" => say(&server.sample(&runtime))?,
            Some(("restart", seconds)) => {
                let stopped = server.stop(&runtime)?;
                server.patience = Duration::from_secs(seconds.parse()?);
                server.start(&runtime)?;
                say(&stopped)?;
            }
            _ => return Err(format!("what is {line:?}?").into()),
        }
    }
    Ok(())
}

fn say(value: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{value}")?;
    stdout.flush()
}

struct Server {
    certificate: Arc<ServerConfig>,
    /// Without TLS and with it.
    ports: [u16; 2],
    /// How long a drain may take; those that have not answered by then are aborted.
    patience: Duration,
    groups: Groups,
    generation: Option<Generation>,
    /// What did not add up in earlier generations.
    wrong: Vec<String>,
}

/// What is there from one start to the next one.
struct Generation {
    tallies: Vec<(&'static str, Connections, Tally)>,
    servers: Vec<(oneshot::Sender<()>, JoinHandle<io::Result<Stopped>>)>,
}

/// What the reports of a kind have said.
type Tally = Arc<Mutex<Told>>;

#[derive(Default)]
struct Told {
    ends: BTreeMap<String, u64>,
    /// Messages and bytes, received and sent.
    traffic: [u64; 4],
}

impl Server {
    fn start(&mut self, runtime: &Runtime) -> Result<(), BoxError> {
        let mut app = Router::new().route("/", get(async || Html(include_str!("page.html"))));
        let mut tallies = Vec::new();
        for kind in KINDS.iter().chain(DRAINED).chain(SOAKED) {
            // Their numbers take turns with the shards, so that each soon has its table.
            let (connections, tally) = (Connections::sequential(), Tally::default());
            app = mount(app, kind, &self.groups, &connections, &tally);
            tallies.push((kind.name, connections, tally));
        }
        let mut servers = Vec::new();
        for (index, port) in self.ports.iter_mut().enumerate() {
            let listener = runtime.block_on(listen(*port))?;
            *port = listener.local_addr()?.port();
            let (stop, stopped) = oneshot::channel();
            let server = serve(listener, app.clone())
                .graceful_shutdown(async {
                    let _gone = stopped.await;
                })
                .drain(Drain::default().timeout(self.patience).rate(10_000));
            let server = match index {
                0 => runtime.spawn(server.into_future()),
                _ => runtime.spawn(server.tls(self.certificate.clone()).into_future()),
            };
            servers.push((stop, server));
        }
        self.generation = Some(Generation { tallies, servers });
        Ok(())
    }

    /// Drains and stops it; what is said is how that went.
    fn stop(&mut self, runtime: &Runtime) -> Result<Value, BoxError> {
        let Some(generation) = self.generation.take() else {
            return Err("it does not run".into());
        };
        let mut stops = Vec::new();
        let mut servers = Vec::new();
        for (stop, server) in generation.servers {
            stops.push(stop.send(()));
            servers.push(server);
        }
        let mut said = Vec::new();
        for server in servers {
            let stopped = runtime.block_on(server)??;
            said.push(json!({
                "websockets": [stopped.websockets.ended, stopped.websockets.aborted],
                "connections": [stopped.connections.ended, stopped.connections.aborted],
            }));
        }
        let kinds = kinds(&generation.tallies);
        for (name, connections, tally) in &generation.tallies {
            let iterated = connections.iter().count();
            if !connections.is_empty() || iterated > 0 {
                let open = connections.len();
                self.wrong.push(format!(
                    "{name}: {open} are open after the drain, {iterated} found"
                ));
            }
            self.wrong
                .extend(adds_up(name, &connections.counters(), &lock(tally)));
        }
        Ok(json!({"stopped": said, "kinds": kinds, "wrong": self.wrong}))
    }

    fn sample(&self, runtime: &Runtime) -> Value {
        let metrics = runtime.metrics();
        let (mut open, mut found) = (0, 0);
        let tallies = self.generation.iter().map(|generation| &generation.tallies);
        for (_, connections, _) in tallies.flatten() {
            open += connections.len();
            found += connections.iter().count();
        }
        json!({
            "rss": resident().unwrap_or_default(),
            "heap": ALLOCATOR.current_usage(),
            "fds": descriptors().unwrap_or_default(),
            "tasks": metrics.num_alive_tasks(),
            "budget": MemoryBudget::default().used(),
            "open": open,
            "found": found,
            "groups": self.groups.len(),
            "kinds": self.generation.as_ref().map(|generation| kinds(&generation.tallies)),
            "wrong": self.wrong,
        })
    }
}

/// What each kind has come to.
fn kinds(tallies: &[(&'static str, Connections, Tally)]) -> Value {
    let kinds = tallies.iter().map(|(name, connections, tally)| {
        let counters = connections.counters();
        let told = lock(tally);
        let refused: u64 = counters.rejected.values().sum();
        let value = json!({
            "accepted": counters.accepted,
            "failed": counters.failed_upgrades,
            "refused": refused,
            "open": counters.open,
            "received": counters.messages_received,
            "ends": told.ends,
            "wrong": (counters.open == 0).then(|| adds_up(name, &counters, &told)),
        });
        (name.to_string(), value)
    });
    Value::Object(kinds.collect())
}

/// What the counters have that the reports do not have, once all have ended.
fn adds_up(name: &str, counters: &Counters, told: &Told) -> Vec<String> {
    let reports: u64 = told.ends.values().sum();
    let closed: u64 = counters.closed.values().sum();
    let counted = [
        counters.messages_received,
        counters.bytes_received,
        counters.messages_sent,
        counters.bytes_sent,
    ];
    let mut wrong = Vec::new();
    if counters.accepted != reports + counters.failed_upgrades || closed != reports {
        let (accepted, failed) = (counters.accepted, counters.failed_upgrades);
        wrong.push(format!(
            "{name}: {accepted} accepted, {failed} failed, {closed} closed, {reports} reports"
        ));
    }
    if counted != told.traffic {
        let reported = told.traffic;
        wrong.push(format!(
            "{name}: counted {counted:?}, reported {reported:?}"
        ));
    }
    wrong
}

/// Adds the layer of one kind, which shares nothing with the others but the groups.
fn mount(
    app: Router,
    kind: &'static Kind,
    groups: &Groups,
    connections: &Connections,
    tally: &Tally,
) -> Router {
    let (groups, tally) = (groups.clone(), tally.clone());
    let run = move |socket| hold(socket, kind, groups.clone());
    let layer = WebSocketLayer::new(handler(run))
        .config(kind.setting.config())
        .connections(connections)
        .on_end(move |report| {
            let mut told = lock(&tally);
            *told.ends.entry(how(report)).or_default() += 1;
            let traffic = [
                report.messages_received,
                report.bytes_received,
                report.messages_sent,
                report.bytes_sent,
            ];
            for (sum, more) in told.traffic.iter_mut().zip(traffic) {
                *sum += more;
            }
        });
    app.route_service(&format!("/{}", kind.name), layer.endpoint())
}

fn how(report: &SessionReport) -> String {
    let clean = if report.clean { "clean" } else { "unclean" };
    format!("{:?} {} {clean}", report.ended_by, report.close_code)
}

async fn hold(mut socket: WebSocket, kind: &'static Kind, groups: Groups) -> Result<(), BoxError> {
    // A broadcast now and then, so that many are in the middle of one when they end.
    let number = socket.id().map_or(0, |id| id.as_u64());
    let quiet = kind.setting.has_deadline();
    let room = format!(
        "{} {}",
        if quiet { "quiet" } else { "room" },
        number % ROOMS
    );
    let membership = groups.join(room.clone(), &socket.sender());
    if number.is_multiple_of(2 * ROOMS + 1) {
        // From 4 KiB on all receivers share it in the budget; what is on its way puts deadlines off.
        let length = if quiet { 0 } else { 5000 };
        let news = format!("{room} has somebody new{}", " ".repeat(length));
        groups.broadcast(&room, news).await;
    }
    let _membership = membership.ok();
    match kind.does {
        Does::Echo => return echo(socket).await,
        Does::Stream => return stream(socket).await,
        Does::Flood => loop {
            socket.send(Message::binary(vec![7; 16 << 10])).await?;
        },
        Does::Split => {
            let (sender, mut receiver) = socket.split();
            let (line, mut other_end) = tokio::sync::mpsc::channel::<Message>(4);
            let sending = tokio::spawn(async move {
                while let Some(message) = other_end.recv().await {
                    sender.send(message).await?;
                }
                Ok::<_, tower_websocket::Error>(())
            });
            while let Ok(Some(message)) = receiver.recv().await {
                line.send(message).await?;
            }
            drop(line);
            return Ok(sending.await??);
        }
        _ => {}
    }
    let Some(message) = socket.recv().await? else {
        return Ok(());
    };
    socket.send(message).await?;
    match kind.does {
        Does::Close => {
            socket.close(CloseCode::NORMAL);
            socket.closed().await;
        }
        Does::CloseAndHear => {
            socket.close(CloseCode::NORMAL);
            while let Ok(Some(_)) = socket.recv().await {}
        }
        Does::Fail => return Err("as it is to be".into()),
        Does::Panic => panic::panic_any(PANIC),
        Does::Abort => socket.sender().abort(),
        Does::Wait => socket.closed().await,
        _ => {}
    }
    Ok(())
}

async fn echo(mut socket: WebSocket) -> Result<(), BoxError> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

async fn stream(mut socket: WebSocket) -> Result<(), BoxError> {
    loop {
        let sender = socket.sender();
        let Some(mut reader) = socket.recv_reader().await? else {
            return Ok(());
        };
        let mut writer = sender.send_writer(reader.kind()).await?;
        while let Some(chunk) = reader.chunk().await? {
            writer.send(chunk).await?;
        }
        writer.finish().await?;
    }
}

fn lock(tally: &Tally) -> std::sync::MutexGuard<'_, Told> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens where it has before, where a client's own port may be for a moment.
async fn listen(port: u16) -> io::Result<TcpListener> {
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return Ok(listener);
        }
        sleep(Duration::from_millis(100)).await;
    }
    TcpListener::bind(("127.0.0.1", port)).await
}

/// What the process has in memory, in bytes.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

fn descriptors() -> io::Result<usize> {
    // Without the one that reads the directory.
    Ok(fs::read_dir("/proc/self/fd")?.count() - 1)
}

/// A certificate for whoever does not look.
fn certificate() -> Result<Arc<ServerConfig>, Box<dyn Error + Send + Sync>> {
    let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key))?;
    Ok(Arc::new(config))
}

/// Longer than those that answer take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const ROOMS: u64 = 16;

const PANIC: &str = "as it is to be";
