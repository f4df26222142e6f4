//! The client's side of the Autobahn test suite: echoes whatever a case sends.
//!
//! Run `wstest -m fuzzingserver -s spec.json`, then:
//! `cargo run --release --example conformance_client --features client -- ws://127.0.0.1:9001`
//!
//! Options behind the URI: with `--takeover` it compresses with context takeover, with `--plain` not at
//! all; with `--http2` all cases share one connection of HTTP/2.

#[path = "support/cli.rs"]
mod cli;

use std::process::ExitCode;

use http::Uri;
use tower::BoxError;
use tower_websocket::{
    CloseCode, Compression, Config, Message, WebSocket,
    client::{Client, ConnectError, Http2Connection},
};

/// What leads to the server.
enum Way {
    /// A connection for each socket.
    Http1(Client),
    /// One for all.
    Http2(Http2Connection),
}

impl Way {
    async fn connect(&self, uri: String) -> Result<WebSocket, ConnectError> {
        match self {
            Self::Http1(client) => client.connect(uri).await,
            Self::Http2(connection) => connection.connect(uri).await,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(USAGE, start).await
}

const USAGE: &str = "usage: conformance_client URI [--takeover | --plain] [--http2]";

async fn start(arguments: Vec<String>) -> Result<(), BoxError> {
    let mut args = arguments.into_iter();
    let server = args.next().ok_or(USAGE)?;
    let (mut agent, mut compression) = ("shared", Some(Compression::shared()));
    let mut http2 = false;
    for option in args {
        match &*option {
            "--takeover" => (agent, compression) = ("takeover", Some(Compression::dedicated())),
            "--plain" => (agent, compression) = ("plain", None),
            "--http2" => http2 = true,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let config = Config::default()
        .max_message_size(256 << 20)
        .compression(compression);
    let client = Client::new().config(config);
    let agent = format!("tower-websocket-{agent}");
    let way = if http2 {
        Way::Http2(client.connect_http2(server.parse::<Uri>()?).await?)
    } else {
        Way::Http1(client)
    };

    let mut socket = way.connect(format!("{server}/getCaseCount")).await?;
    let count = socket.recv().await?;
    let count: u32 = count
        .as_ref()
        .and_then(Message::as_text)
        .unwrap_or_default()
        .parse()?;
    println!("{count} cases for {agent}");
    for case in 1..=count {
        run(&way, format!("{server}/runCase?case={case}&agent={agent}")).await?;
    }
    let socket = way
        .connect(format!("{server}/updateReports?agent={agent}"))
        .await?;
    finish(socket).await;
    Ok(())
}

/// Echoes until the case is over, however it ends.
async fn run(way: &Way, uri: String) -> Result<(), ConnectError> {
    let mut socket = way.connect(uri).await?;
    while let Ok(Some(message)) = socket.recv().await {
        if socket.send(message).await.is_err() {
            break;
        }
    }
    finish(socket).await;
    Ok(())
}

async fn finish(socket: WebSocket) {
    socket.close(CloseCode::NORMAL);
    socket.closed().await;
}
