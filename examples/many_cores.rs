//! An echo server on every core: each has a thread, a runtime and a listener of its own, and the
//! kernel deals the connections out (`SO_REUSEPORT`). No connection ever changes its thread.
//!
//! Run: `cargo run --release --example many_cores`, or with an address of your own:
//! `… -- 127.0.0.1:9000`. With `--multi-thread` it is one runtime that steals work between the
//! threads, to compare.

use std::net::SocketAddr;
use std::thread;

use axum::{Router, routing::any, serve::ListenerExt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower::BoxError;
use tower_websocket::{Error, WebSocket, WebSocketLayer, handler};

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let (flags, addresses): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let address = addresses.first().map_or("127.0.0.1:8080", String::as_str);
    let address: SocketAddr = address.parse()?;
    println!("echoing at ws://{address}/");

    let websocket = WebSocketLayer::new(handler(echo));
    let app = Router::new().route("/", any(async || "a page").layer(websocket));
    if flags.iter().any(|flag| flag == "--multi-thread") {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(serve(address, app));
    }
    let cores = thread::available_parallelism()?.get();
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            let app = app.clone();
            thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(serve(address, app))
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(())
}

async fn serve(address: SocketAddr, app: Router) -> Result<(), BoxError> {
    let listener = listen(address)?.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, app).await?)
}

/// Listens on an address on which others may listen too.
fn listen(address: SocketAddr) -> Result<TcpListener, BoxError> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    // Every listener has a queue of its own, in which the kernel puts its share.
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into())?)
}
