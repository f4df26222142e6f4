//! A server of its own: WebSocket and a page on one port, over HTTP/1.1 and HTTP/2.
//!
//! Run: `cargo run --features serve --example serve`, and open http://127.0.0.1:8080; for TLS, with a
//! certificate made on the spot, `cargo run --features serve --example serve -- 127.0.0.1:8443 tls`.
//! Ctrl-C closes every WebSocket with 1001 before it ends.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    Router,
    response::Html,
    routing::{any, get},
};
use tokio::{net::TcpListener, signal};
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tower_websocket::{WebSocket, WebSocketLayer, handler, serve, session::Drain};

async fn echo(mut socket: WebSocket) -> Result<(), tower_websocket::Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let tls = arguments.next().is_some();

    let echo = WebSocketLayer::new(handler(echo));
    let app = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/echo", any(async || "a WebSocket").layer(echo));
    let listener = TcpListener::bind(address).await?;
    let scheme = if tls { "https" } else { "http" };
    println!("{scheme}://{}", listener.local_addr()?);

    let mut server = serve(listener, app)
        .drain(Drain::default().timeout(Duration::from_secs(10)))
        .graceful_shutdown(ctrl_c());
    if tls {
        server = server.tls(certificate()?);
    }
    println!("{:?}", server.await?);
    Ok(())
}

async fn ctrl_c() {
    if signal::ctrl_c().await.is_err() {
        eprintln!("no Ctrl-C here: the server will not stop by itself");
        std::future::pending().await
    }
}

/// A certificate for this machine alone.
fn certificate() -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".into(), "127.0.0.1".into()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key))?;
    Ok(Arc::new(config))
}

const PAGE: &str = r#"<!doctype html>
<title>echo</title>
<form><input autofocus placeholder="say something"></form>
<pre></pre>
<script>
  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/echo`);
  const input = document.querySelector("input");
  const print = (text) => document.querySelector("pre").append(text + "\n");
  socket.onmessage = (message) => print(message.data);
  socket.onclose = (close) => print(`closed: ${close.code} ${close.reason}`);
  document.querySelector("form").onsubmit = (event) => {
    event.preventDefault();
    socket.send(input.value);
    input.value = "";
  };
</script>
"#;
