//! A server of its own: WebSocket and a page on one port, over HTTP/1.1 and HTTP/2, with all that `serve` has.
//!
//! Run: `cargo run --features serve --example serve`, and open http://127.0.0.1:8080; with `-- --help` it says what
//! else there is. Ctrl-C or SIGTERM closes every WebSocket with 1001 before it ends.

#[path = "support/asked.rs"]
mod asked;

use std::{env, error::Error, process::ExitCode, sync::Arc, time::Duration};

use axum::{
    Router,
    response::Html,
    routing::{any, get},
};
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tower_websocket::{
    WebSocket, WebSocketLayer, handler, serve,
    serve::{ConnectionEnd, PemFiles},
    service::PerAddress,
    session::Drain,
};

const HELP: &str = "\
usage: serve [ADDRESS] [--tls | --cert FILE --key FILE] [--proxy]

  ADDRESS      where to listen, 127.0.0.1:8080 if it is not given
  --tls        with a certificate made on the spot, for this machine
  --cert FILE  with a certificate in PEM, which is read again when it has changed,
  --key FILE   and its key
  --proxy      behind a proxy that speaks the PROXY protocol";

async fn echo(mut socket: WebSocket) -> Result<(), tower_websocket::Error> {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::read(env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("{wrong}\n{HELP}");
            return ExitCode::FAILURE;
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    let limit = PerAddress::new()
        .max_open(100)
        .max_new(60, Duration::from_secs(60));
    let echo = WebSocketLayer::new(handler(echo)).per_address(&limit);
    let app = Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/echo", any(async || "a WebSocket").layer(echo));
    let mut server = serve(options.address, app)
        .bind()
        .await?
        .max_connections(10_000)
        .drain(Drain::default().timeout(Duration::from_secs(10)))
        .on_connection_end(|report| match &report.end {
            ConnectionEnd::Closed | ConnectionEnd::Upgraded => {}
            end => eprintln!("{:?} after {:?}: {end}", report.peer, report.lasted),
        })
        .graceful_shutdown(asked::to_stop());
    let mut scheme = "https";
    match (options.files, options.tls) {
        (Some((chain, key)), _) => server = server.tls(PemFiles::open(chain, key)?),
        (None, true) => server = server.tls(certificate()?),
        (None, false) => scheme = "http",
    }
    if options.proxy {
        server = server.proxy_protocol();
    }
    println!("{scheme}://{}", server.local_addr()?);
    println!("{:?}", server.await?);
    Ok(())
}

/// What the command line says.
struct Options {
    address: String,
    tls: bool,
    files: Option<(String, String)>,
    proxy: bool,
}

impl Options {
    /// Reads the arguments; `None` if they ask for help.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut address = None;
        let (mut tls, mut proxy, mut cert, mut key) = (false, false, None, None);
        while let Some(argument) = arguments.next() {
            let mut file = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a file"))
            };
            match &*argument {
                "-h" | "--help" => return Ok(None),
                "--tls" => tls = true,
                "--proxy" => proxy = true,
                "--cert" => cert = Some(file()?),
                "--key" => key = Some(file()?),
                unknown if unknown.starts_with('-') || address.is_some() => {
                    return Err(format!("what is {unknown}?"));
                }
                _ => address = Some(argument),
            }
        }
        if cert.is_some() != key.is_some() {
            return Err("--cert and --key go together".to_owned());
        }
        Ok(Some(Self {
            address: address.unwrap_or_else(|| "127.0.0.1:8080".to_owned()),
            tls,
            files: cert.zip(key),
            proxy,
        }))
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
