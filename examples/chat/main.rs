//! A chat with rooms, for browsers: one page, and a WebSocket per room and member.
//!
//! Run: `cargo run --release --example chat`, and open what it prints in two windows. Addresses of
//! your own: `… -- 127.0.0.1:9000 127.0.0.1:9443`. Ctrl-C or SIGTERM closes every WebSocket with 1001; the pages
//! wait, and come back to the next one that is started.

mod chat;
#[path = "../support/cli.rs"]
mod cli;
#[path = "../support/stop.rs"]
mod stop;
#[path = "../support/mod.rs"]
mod support;

use std::{convert::Infallible, process::ExitCode};

use support::Port;
use tower::BoxError;
use tower_websocket::{Connections, Groups};

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(USAGE, start).await
}

const USAGE: &str = "usage: chat [ADDRESS [TLS_ADDRESS]]    default: 127.0.0.1:8080 127.0.0.1:8443";

async fn start(arguments: Vec<String>) -> Result<(), BoxError> {
    let mut addresses = arguments.iter().map(String::as_str);
    let http = Port::plain(addresses.next().unwrap_or("127.0.0.1:8080")).await?;
    let https = Port::tls(addresses.next().unwrap_or("127.0.0.1:8443")).await?;
    let (plain, tls) = (http.address()?, https.address()?);
    println!("The chat is open at http://{plain} (HTTP/1.1) and https://{tls} (HTTP/2).");
    println!("The certificate was made just now: the browser will warn, and lets you go on.");
    let connections = Connections::new();
    let app = chat::app(Groups::new(), &connections);
    let ports = async {
        tokio::join!(http.serve(app.clone()), https.serve(app));
        Ok::<_, Infallible>(())
    };
    stop::until_asked(ports, &connections).await
}
