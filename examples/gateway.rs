//! A gateway: passes WebSockets on to another server, HTTP/1.1 to HTTP/2 and back.
//!
//! Run: `cargo run --features client,serve --example gateway -- --to ws://127.0.0.1:9000/`; with `--help` it says what
//! else there is. Ctrl-C or SIGTERM closes every WebSocket with 1001 before it ends.

#[path = "support/asked.rs"]
mod asked;

use std::{env, error::Error, process::ExitCode, sync::Arc, time::Duration};

use axum::Router;
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tower_websocket::{
    Config, OriginPolicy,
    client::{Client, HttpVersion},
    forward::Forward,
    serve,
    session::Drain,
};

const HELP: &str = "\
usage: gateway --to URI [--listen ADDRESS] [--tls] [--http2] [--splice] [--ca FILE]

  --to URI          the upstream, ws:// or wss://; paths are put behind its path
  --listen ADDRESS  where to listen, 127.0.0.1:8080 if it is not given
  --tls             listens with a certificate made on the spot, for this machine
  --http2           asks the upstream by HTTP/2, with up to 100 WebSockets over one connection
  --splice          has client and upstream agree on extensions, and passes bytes unread
  --ca FILE         also trusts an upstream with a certificate signed by these, in PEM";

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
    // Messages of any size: they are passed on as they arrive.
    let config = Config::default()
        .streaming(true)
        .max_message_size(None)
        .origin(OriginPolicy::Any); // the upstream has it, and decides
    let mut client = Client::new().config(config.clone());
    if let Some(file) = &options.ca {
        let pem = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        client = client.add_root_pem(pem)?;
    }
    if options.http2 {
        client = client.http_version(HttpVersion::Http2);
    }
    let mut forward = Forward::to(&options.to)?
        .client(client)
        .preserve_host(true)
        .x_forwarded_for(true)
        .end_to_end(options.splice);
    if options.http2 {
        forward = forward.sockets_per_connection(100);
    }
    let layer = forward.layer().config(config);
    let app = Router::new().fallback_service(layer.endpoint());
    let mut server = serve(options.listen, app)
        .bind()
        .await?
        .drain(Drain::default().timeout(Duration::from_secs(10)))
        .graceful_shutdown(asked::to_stop());
    let mut scheme = "ws";
    if options.tls {
        server = server.tls(certificate()?);
        scheme = "wss";
    }
    println!("{scheme}://{} to {}", server.local_addr()?, options.to);
    println!("{:?}", server.await?);
    Ok(())
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

/// What the command line says.
struct Options {
    to: String,
    listen: String,
    tls: bool,
    http2: bool,
    splice: bool,
    ca: Option<String>,
}

impl Options {
    /// Reads the arguments; `None` if they ask for help.
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (mut to, mut listen, mut ca) = (None, None, None);
        let (mut tls, mut http2, mut splice) = (false, false, false);
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument.as_str() {
                "-h" | "--help" => return Ok(None),
                "--to" => to = Some(value()?),
                "--listen" => listen = Some(value()?),
                "--ca" => ca = Some(value()?),
                "--tls" => tls = true,
                "--http2" => http2 = true,
                "--splice" => splice = true,
                unknown => return Err(format!("what is {unknown}?")),
            }
        }
        Ok(Some(Self {
            to: to.ok_or("--to is missing")?,
            listen: listen.unwrap_or_else(|| "127.0.0.1:8080".to_owned()),
            tls,
            http2,
            splice,
            ca,
        }))
    }
}
