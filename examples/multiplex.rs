//! A hundred WebSockets over one HTTP/2 connection.
//!
//! Run the example `echo` (`cargo run --example echo`), then:
//! `cargo run --example multiplex --features client -- ws://127.0.0.1:8080/echo`

#[path = "support/cli.rs"]
mod cli;

use std::process::ExitCode;

use futures_util::future::try_join_all;
use http::Uri;
use tower::BoxError;
use tower_websocket::{CloseCode, Error, WebSocket, client::Client};

const SOCKETS: usize = 100;

#[tokio::main]
async fn main() -> ExitCode {
    let usage = "usage: multiplex [URI]    default: ws://127.0.0.1:8080/echo, of the example echo";
    cli::run(usage, start).await
}

async fn start(arguments: Vec<String>) -> Result<(), BoxError> {
    let uri = arguments
        .first()
        .map_or("ws://127.0.0.1:8080/echo", String::as_str);
    let uri: Uri = uri.parse()?;
    let connection = Client::new().connect_http2(uri.clone()).await?;
    println!(
        "the server allows {} sockets at once",
        connection.max_sockets()
    );

    let opening = (0..SOCKETS).map(|_| connection.connect(uri.path()));
    let sockets = try_join_all(opening).await?;
    println!("{} sockets are open on one connection", sockets.len());

    let talks = sockets
        .into_iter()
        .enumerate()
        .map(|(n, socket)| greet(n, socket));
    let answers = try_join_all(talks).await?;
    println!(
        "{} answers, the last one: {:?}",
        answers.len(),
        answers.last()
    );
    Ok(())
}

/// Says hello, and returns the answer.
async fn greet(n: usize, mut socket: WebSocket) -> Result<String, Error> {
    socket.send(format!("hello from socket {n}")).await?;
    let answer = socket.recv().await?;
    socket.close(CloseCode::NORMAL);
    socket.closed().await;
    Ok(answer
        .map(|message| format!("{message:?}"))
        .unwrap_or_default())
}
