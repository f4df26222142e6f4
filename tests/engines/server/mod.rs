//! A server: a process of its own, of this same program, told what to do on standard input.

mod engine;
mod planted;
mod rooms;

use std::{
    env, fs,
    io::{self, BufRead, Write},
};

use axum::{Router, routing::any};
use http::Request;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tower::{BoxError, service_fn};
use tower_websocket::{Connections, WebSocket, WebSocketLayer, serve, session::Drain};

use self::{engine::Engine, rooms::Rooms};

/// The argument that makes this program a server; what follows is its [`engine`] as JSON.
pub(crate) const SERVER: &str = "the-server-of-the-engines";

/// Runs it until standard input ends: each line of it is answered by a line of JSON.
pub(crate) fn run() -> Result<(), BoxError> {
    let setting: Value = serde_json::from_str(&env::args().nth(2).ok_or("no setting")?)?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let server = {
        let _inside = runtime.enter();
        Server::start(&setting)?
    };
    let port = runtime.block_on(server.listen())?;
    say(&json!({ "port": port }))?;
    for line in io::stdin().lock().lines() {
        let said = match line?.as_str() {
            "connected" => {
                runtime.block_on(server.engine.connected());
                json!({})
            }
            "sample" => server.sample(&runtime),
            "count" => runtime.block_on(server.rooms.count_members()),
            "leave" => {
                runtime.block_on(server.leave());
                json!({})
            }
            what => return Err(format!("what is {what:?}?").into()),
        };
        say(&said)?;
    }
    Ok(())
}

fn say(value: &Value) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{value}")?;
    stdout.flush()
}

struct Server {
    engine: Engine,
    rooms: Rooms,
    connections: Connections,
}

impl Server {
    fn start(setting: &Value) -> Result<Self, BoxError> {
        let engine = Engine::start(setting)?;
        Ok(Self {
            rooms: Rooms::new(&engine),
            engine,
            connections: Connections::new(),
        })
    }

    /// Serves on a free port, and returns it.
    async fn listen(&self) -> Result<u16, BoxError> {
        let rooms = self.rooms.clone();
        let layer = WebSocketLayer::new(service_fn(move |request| talk(rooms.clone(), request)))
            .connections(&self.connections);
        let app = Router::new().route("/{*group}", any(async || "a WebSocket").layer(layer));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        tokio::spawn(serve(listener, app).into_future());
        Ok(port)
    }

    /// Closes all connections, and leaves the cluster.
    async fn leave(&self) {
        self.connections.drain(Drain::default()).await;
        self.engine.leave().await;
    }

    fn sample(&self, runtime: &Runtime) -> Value {
        json!({
            "connections": self.connections.len(),
            "rss": status("VmRSS:").unwrap_or_default(),
            "peak": status("VmHWM:").unwrap_or_default(),
            // Without the one that reads the directory.
            "fds": fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() - 1),
            "tasks": runtime.metrics().num_alive_tasks(),
            "groups": self.rooms.count(),
            "cluster": self.engine.sample(),
        })
    }
}

async fn talk(rooms: Rooms, request: Request<WebSocket>) -> Result<(), BoxError> {
    let (head, socket) = request.into_parts();
    let path = head.uri.path().trim_matches('/').to_owned();
    drop(head);
    match path.strip_prefix("many/") {
        Some(count) => rooms.serve_many(socket, count.parse()?).await,
        None => rooms.serve(socket, path).await,
    }
}

/// A line of what the system says of this process, in bytes.
fn status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}
