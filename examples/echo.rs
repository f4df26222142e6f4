//! An echo server on hyper alone: HTTP/1.1 and HTTP/2 on one port.
//!
//! Run: `cargo run --release --example echo`, or with an address of your own: `… -- 127.0.0.1:9000`

#[path = "support/cli.rs"]
mod cli;
#[path = "support/stop.rs"]
mod stop;

use std::{convert::Infallible, process::ExitCode};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{BoxError, Layer, service_fn};
use tower_websocket::{Connections, Error, WebSocket, WebSocketLayer, handler};

/// Has every connection to `/echo`.
async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Has every other request.
async fn not_found(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new("There is only a WebSocket here, at /echo.\n".to_owned());
    *response.status_mut() = StatusCode::NOT_FOUND;
    Ok(response)
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::run("usage: echo [ADDRESS]    default: 127.0.0.1:8080", start).await
}

async fn start(arguments: Vec<String>) -> Result<(), BoxError> {
    let address = arguments.first().map_or("127.0.0.1:8080", String::as_str);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| format!("{address}: {error}"))?;
    println!("echoing at ws://{}/echo", listener.local_addr()?);
    let connections = Connections::new();
    stop::until_asked(serve(listener, &connections), &connections).await
}

async fn serve(listener: TcpListener, connections: &Connections) -> Result<(), BoxError> {
    let layer = WebSocketLayer::new(handler(echo))
        .path("/echo")
        .connections(connections);
    let app = TowerToHyperService::new(layer.layer(service_fn(not_found)));
    loop {
        let (stream, _peer) = listener.accept().await?;
        // Small messages leave at once, instead of waiting for the last one's acknowledgement.
        stream.set_nodelay(true)?;
        let app = app.clone();
        tokio::spawn(async move {
            let mut server = auto::Builder::new(TokioExecutor::new());
            // WebSocket over HTTP/2 (RFC 8441): clients only try it when the server says so.
            server.http2().enable_connect_protocol();
            // Without `_with_upgrades`, no WebSocket would ever open.
            let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), app);
            if let Err(error) = connection.await {
                eprintln!("connection failed: {error}");
            }
        });
    }
}
