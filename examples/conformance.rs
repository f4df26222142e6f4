//! An echo server for test suites and clients of every kind.
//!
//! Run: `cargo run --release --example conformance -- 127.0.0.1:9001 127.0.0.1:9002`
//!
//! Both ports speak HTTP/1.1 and HTTP/2; the second one has TLS with a certificate of its own
//! making. `/echo` echoes, and on the text `@close 4001 see you` closes with that code and reason;
//! messages are compressed one by one where the client offers it. `/takeover` does the same with
//! context takeover, and a window of the size that the client asks for. Each handshake is a line of
//! output: its version of HTTP and its path.

#[path = "support/cli.rs"]
mod cli;
#[path = "support/stop.rs"]
mod stop;
mod support;

use std::{convert::Infallible, process::ExitCode};

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tower::{BoxError, ServiceBuilder, service_fn};
use tower_websocket::{
    CloseCode, CloseFrame, Compression, Config, Connections, Error, Handshake, Message,
    OriginPolicy, WebSocket, WebSocketLayer, handler, service::Decision,
};

async fn echo(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        if let Some(frame) = close_command(&message) {
            socket.close(frame);
        } else {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// Returns which HTTP a WebSocket came over: a test through a proxy has to know.
async fn announce(handshake: Handshake) -> Decision {
    println!("{:?} {}", handshake.version(), handshake.uri().path());
    handshake.accept()
}

/// Reads `@close CODE REASON`.
fn close_command(message: &Message) -> Option<CloseFrame> {
    let command = message.as_text()?.strip_prefix("@close ")?;
    let (code, reason) = command.split_once(' ').unwrap_or((command, ""));
    Some(CloseFrame::new(CloseCode::new(code.parse().ok()?)?, reason))
}

async fn page(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let mut response = Response::new(String::new());
    // Not to a CONNECT: over HTTP/2 a 200 would tell the client that its WebSocket is open.
    if request.method() == Method::GET && request.uri().path() == "/" {
        *response.body_mut() = PAGE.to_owned();
        let html = header::HeaderValue::from_static("text/html; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, html);
    } else {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(USAGE, start).await
}

const USAGE: &str = "usage: conformance PLAIN_ADDRESS TLS_ADDRESS";

async fn start(arguments: Vec<String>) -> Result<(), BoxError> {
    let [plain, tls] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let connections = Connections::new();
    let config = Config::default()
        .max_message_size(256 << 20)
        .subprotocols(["echo"])
        .origin(OriginPolicy::Any);
    let mount = |path, compression| {
        WebSocketLayer::new(handler(echo))
            .config(config.clone().compression(compression))
            .path(path)
            .connections(&connections)
            .on_handshake(announce)
    };
    let app = ServiceBuilder::new()
        .layer(mount("/echo", Compression::shared()))
        .layer(mount("/takeover", Compression::dedicated()))
        .service(service_fn(page));

    let (plain, tls) = (
        support::Port::plain(plain).await?,
        support::Port::tls(tls).await?,
    );
    println!("http://{} and https://{}", plain.address()?, tls.address()?);
    let ports = async {
        tokio::join!(plain.serve(app.clone()), tls.serve(app));
        Ok::<_, Infallible>(())
    };
    stop::until_asked(ports, &connections).await
}

const PAGE: &str = "<!doctype html><title>tower-websocket</title><p>Echo is at <code>/echo</code>.";
