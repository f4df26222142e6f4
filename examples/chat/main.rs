//! A chat with rooms, for browsers: one page, and a WebSocket per room and member.
//!
//! Run: `cargo run --release --example chat`, and open what it prints in two windows. Addresses of
//! your own: `… -- 127.0.0.1:9000 127.0.0.1:9443`.

mod chat;
#[path = "../support/mod.rs"]
mod support;

use support::Port;
use tower::BoxError;
use tower_websocket::Groups;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = std::env::args().skip(1);
    let plain = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let tls = args.next().unwrap_or_else(|| "127.0.0.1:8443".to_owned());
    let http = opened(&plain, Port::plain(&plain).await);
    let https = opened(&tls, Port::tls(&tls).await);
    let (plain, tls) = (http.address()?, https.address()?);
    println!("The chat is open at http://{plain} (HTTP/1.1) and https://{tls} (HTTP/2).");
    println!("The certificate was made just now: the browser will warn, and can be told to go on.");
    let app = chat::app(Groups::new());
    tokio::join!(http.serve(app.clone()), https.serve(app));
    Ok(())
}

/// The port, or the end of the program with the reason.
fn opened(address: &str, port: Result<Port, BoxError>) -> Port {
    port.unwrap_or_else(|error| {
        eprintln!("Cannot listen on {address}: {error}");
        std::process::exit(1);
    })
}
