//! What two thousand handshakes leave behind: nothing.
//!
//! A binary of its own: its allocator counts, and nothing else may run meanwhile. `HANDSHAKES` says
//! how many there are of each kind.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{cell::Cell, env, fs, net::SocketAddr, time::Duration};

use axum::{Router, routing::any};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use peak_alloc::PeakAlloc;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Handle},
    task::yield_now,
    time::timeout,
};
use tower_websocket::{
    CloseCode, Compression, Config, WebSocket, WebSocketLayer,
    client::{Client, HttpVersion},
    handler,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The only test, so that the harness itself has nothing to allocate meanwhile.
#[test]
fn handshakes_leave_nothing_behind() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = serve().await;
        let uri = format!("ws://{address}/");
        for version in [HttpVersion::Http1, HttpVersion::Http2] {
            let config = Config::default().compression(Compression::shared());
            let client = Client::new().config(config).http_version(version);
            flat(version, async || {
                talk(client.connect(&uri).await.unwrap()).await
            })
            .await;
            flat("refusals", async || {
                drop(client.connect(format!("{uri}no")).await.unwrap_err())
            })
            .await;
        }
        let connection = Client::new().connect_http2(&uri).await.unwrap();
        flat("streams", async || {
            talk(connection.connect("/").await.unwrap()).await
        })
        .await;
        drop(connection);
        // h2 ends a connection on which a thousand were given up while their answers were on their way.
        let (given_up, current) = (Cell::new(0), Cell::new(None));
        flat("given up", async || {
            let connection = match current.take() {
                Some(connection) => connection,
                None => Client::new().connect_http2(&uri).await.unwrap(),
            };
            let mut connecting = Box::pin(connection.connect("/"));
            let polled = timeout(Duration::ZERO, connecting.as_mut()).await;
            drop((connecting, polled));
            given_up.set(given_up.get() + 1);
            if given_up.get() % 5 == 0 {
                talk(connection.connect("/").await.unwrap()).await;
            } else {
                current.set(Some(connection));
            }
        })
        .await;
    });
}

/// Does something two thousand times, and looks at what is there before and after.
async fn flat(what: impl std::fmt::Debug, once: impl AsyncFn()) {
    let rounds = env::var("HANDSHAKES").map_or(2_000, |rounds| rounds.parse().unwrap());
    // What belongs to the process, the thread or a connection is there then.
    for _ in 0..600 {
        once().await;
    }
    let before = settled(0).await;
    for _ in 0..rounds {
        once().await;
    }
    let after = settled(before.tasks).await;
    println!("{what:?}: {before:?}, {after:?}");
    assert!(
        after.tasks <= before.tasks,
        "{what:?}: {before:?}, {after:?}"
    );
    assert!(
        after.descriptors <= before.descriptors,
        "{what:?}: {before:?}, {after:?}"
    );
    let growth = after.heap.saturating_sub(before.heap);
    assert!(growth < 4096, "{what:?}: {before:?}, {after:?}");
}

#[derive(Debug)]
struct State {
    heap: usize,
    tasks: usize,
    descriptors: usize,
}

/// Waits until no more than these tasks, and otherwise as many as stay, are there.
async fn settled(tasks: usize) -> State {
    let settling = async {
        let mut calm = 0;
        let mut last = usize::MAX;
        while calm < 1000 {
            let now = Handle::current().metrics().num_alive_tasks();
            let still = now == last && (tasks == 0 || now <= tasks);
            calm = if still { calm + 1 } else { 0 };
            last = now;
            yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), settling)
        .await
        .expect("tasks end");
    State {
        heap: ALLOCATOR.current_usage(),
        tasks: Handle::current().metrics().num_alive_tasks(),
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
    }
}

async fn talk(mut socket: WebSocket) {
    socket.send("hello").await.unwrap();
    assert!(socket.recv().await.unwrap().is_some());
    socket.close(CloseCode::NORMAL);
    socket.closed().await;
}

async fn serve() -> SocketAddr {
    let echo = handler(async |mut socket: WebSocket| {
        while let Ok(Some(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    });
    let config = Config::default().compression(Compression::shared());
    let layer = WebSocketLayer::new(echo).config(config);
    let app = Router::new().route("/", any(async || "a page").layer(layer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            let app = TowerToHyperService::new(app.clone());
            tokio::spawn(async move {
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().enable_connect_protocol();
                // Each second's date stays in HPACK's tables, until they have 4 KiB.
                server.http2().auto_date_header(false);
                let io = TokioIo::new(stream);
                let _gone = server.serve_connection_with_upgrades(io, app).await;
            });
        }
    });
    address
}
