//! An echo server on every core: each has a thread, a runtime and a listener of its own, and the
//! kernel deals the connections out (`SO_REUSEPORT`). No connection ever changes its thread.
//!
//! Run: `cargo run --release --example many_cores`, or with an address of your own:
//! `… -- 127.0.0.1:9000`. With `--multi-thread` it is one runtime that steals work between the
//! threads, to compare.

#[path = "support/cli.rs"]
mod cli;
#[path = "support/stop.rs"]
mod stop;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;

use axum::{Router, routing::any, serve::ListenerExt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower::BoxError;
use tower_websocket::{Connections, Error, WebSocket, WebSocketLayer, handler};

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // It reads the arguments, and waits; the others serve.
    cli::run(USAGE, async |arguments| {
        tokio::task::spawn_blocking(|| start(arguments)).await?
    })
    .await
}

const USAGE: &str = "usage: many_cores [--multi-thread] [ADDRESS]    default: 127.0.0.1:8080";

fn start(arguments: Vec<String>) -> Result<(), BoxError> {
    let (flags, addresses): (Vec<_>, Vec<_>) = arguments
        .into_iter()
        .partition(|argument| argument.starts_with("--"));
    if let Some(unknown) = flags.iter().find(|flag| *flag != "--multi-thread") {
        return Err(format!("there is no {unknown}; {USAGE}").into());
    }
    let address = addresses.first().map_or("127.0.0.1:8080", String::as_str);
    let address: SocketAddr = address.parse()?;
    println!("echoing at ws://{address}/");

    if !flags.is_empty() {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        return runtime.block_on(serve(address));
    }
    let cores = thread::available_parallelism()?.get();
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(serve(address))
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(())
}

async fn serve(address: SocketAddr) -> Result<(), BoxError> {
    let connections = Connections::new();
    let websocket = WebSocketLayer::new(handler(echo)).connections(&connections);
    let app = Router::new().route("/", any(async || "a page").layer(websocket));
    let listener = listen(address).map_err(|error| format!("{address}: {error}"))?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    stop::until_asked(axum::serve(listener, app).into_future(), &connections).await
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
