//! A server for clients behind slow lines, which `tests/slow_line/run` starts.
//!
//! Run: `cargo run --features serve --example slow_line -- 127.0.0.1:9001 127.0.0.1:9002`
//!
//! Both ports speak HTTP/1.1 and HTTP/2; the second one has TLS with a certificate of its own making.
//! All settings are the defaults. What is sent are binary messages of 16 KiB: a number of 8 bytes, then
//! its lowest byte over and over.
//!
//! - `/flood?seconds=30` sends for so long, and returns.
//! - `/silence?bytes=2621440&seconds=50` sends so many bytes, waits for a text from the client, which
//!   sends it when it has them all, says nothing for so long, and returns.
//! - `/return?bytes=6291456` sends so many bytes, and returns.
//!
//! Every connection is reported on a line of its own: how it was opened, and how it ended.

#[path = "support/cli.rs"]
mod cli;

use std::{process::ExitCode, sync::Arc, time::Duration};

use axum::{Router, response::Html, routing::get};
use http::{Request, Version};
use tokio::{
    net::TcpListener,
    signal,
    time::{Instant, timeout},
};
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tower::{BoxError, service_fn};
use tower_websocket::{Config, OriginPolicy, WebSocket, WebSocketLayer, serve};

/// The size of a message.
const SIZE: usize = 16 << 10;

/// The message of this number.
fn message(number: u64) -> Vec<u8> {
    let mut message = vec![number.to_le_bytes()[0]; SIZE];
    message[..8].copy_from_slice(&number.to_be_bytes());
    message
}

/// A number in the query.
fn argument(request: &Request<WebSocket>, name: &str) -> Option<u64> {
    let mut pairs = request.uri().query()?.split('&');
    pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

async fn send_bytes(socket: &WebSocket, bytes: u64) -> Result<(), tower_websocket::Error> {
    for number in 0..bytes / SIZE as u64 {
        socket.send(message(number)).await?;
    }
    Ok(())
}

async fn route(request: Request<WebSocket>) -> Result<(), BoxError> {
    let http = match request.version() {
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    };
    println!("opened {} over {http}", request.uri().path());
    let argument =
        |name: &str| argument(&request, name).ok_or_else(|| format!("no {name} in the query"));
    let path = request.uri().path().to_owned();
    match &*path {
        "/flood" => {
            let end = Instant::now() + Duration::from_secs(argument("seconds")?);
            let socket = request.into_body();
            let mut number = 0;
            while Instant::now() < end {
                socket.send(message(number)).await?;
                number += 1;
            }
            println!("flooded with {number} messages");
        }
        "/silence" => {
            let (bytes, seconds) = (argument("bytes")?, argument("seconds")?);
            let mut socket = request.into_body();
            send_bytes(&socket, bytes).await?;
            println!("sent {bytes} bytes");
            socket.recv().await?;
            println!("all of it has come");
            let silence = timeout(Duration::from_secs(seconds), socket.recv());
            if let Ok(received) = silence.await {
                return Err(format!("no silence: {received:?}").into());
            }
        }
        "/return" => {
            let bytes = argument("bytes")?;
            send_bytes(&request.into_body(), bytes).await?;
            println!("sent {bytes} bytes");
        }
        path => return Err(format!("nothing is at {path}").into()),
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(USAGE, start).await
}

const USAGE: &str = "usage: slow_line PLAIN_ADDRESS TLS_ADDRESS";

async fn start(arguments: Vec<String>) -> Result<(), BoxError> {
    let [plain, tls] = &arguments[..] else {
        return Err(USAGE.into());
    };
    let websocket = WebSocketLayer::new(service_fn(route))
        .config(Config::default().origin(OriginPolicy::Any))
        .on_end(|report| {
            println!(
                "ended by {:?} with {} after {:.1} s, clean: {}",
                report.ended_by,
                report.close_code,
                report.duration.as_secs_f64(),
                report.clean,
            );
        });
    let app = Router::new()
        .route("/", get(async || Html(PAGE)))
        .fallback_service(websocket.endpoint());
    let listen = async |address: &str| {
        let listener = TcpListener::bind(address).await;
        listener.map_err(|error| format!("{address}: {error}"))
    };
    let (plain, tls) = (listen(plain).await?, listen(tls).await?);
    println!(
        "http://{} and https://{}",
        plain.local_addr()?,
        tls.local_addr()?
    );
    let (plain, tls) = tokio::join!(
        serve(plain, app.clone()).graceful_shutdown(ctrl_c()),
        serve(tls, app)
            .tls(certificate()?)
            .graceful_shutdown(ctrl_c()),
    );
    plain?;
    tls?;
    Ok(())
}

async fn ctrl_c() {
    if signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

/// A certificate for clients that do not check it.
fn certificate() -> Result<Arc<ServerConfig>, BoxError> {
    let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key))?;
    Ok(Arc::new(config))
}

/// The same as `client.py`, for browsers: the page's title becomes what was seen.
const PAGE: &str = r#"<!doctype html>
<link rel="icon" href="data:,">
<title>waiting</title>
<script>
  const target = decodeURIComponent(location.hash.slice(1));
  if (target) {
    const start = performance.now();
    const seen = { bytes: 0, messages: 0, wrong: null };
    const socket = new WebSocket(location.origin.replace("http", "ws") + target);
    const expected = Number(new URLSearchParams(target.split("?")[1]).get("bytes")) / 16384;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      const bytes = new Uint8Array(data);
      const number = Number(new DataView(data).getBigUint64(0));
      const right = bytes.length === 16384 && number === seen.messages
        && bytes.subarray(8).every((byte) => byte === number % 256);
      if (!right) seen.wrong ??= `message ${seen.messages} is not what was sent`;
      seen.messages += 1;
      seen.bytes += bytes.length;
      if (target.startsWith("/silence") && seen.messages === expected) socket.send("all of it");
    };
    socket.onclose = ({ code, wasClean }) => {
      seen.seconds = (performance.now() - start) / 1000;
      document.title = JSON.stringify({ ...seen, code, clean: wasClean });
    };
  }
</script>
"#;
