//! The client's side of the Autobahn test suite: echoes whatever a case sends.
//!
//! Run `wstest -m fuzzingserver -s spec.json`, then:
//! `cargo run --release --example conformance_client --features client -- ws://127.0.0.1:9001`
//!
//! With `--takeover` behind the URI it compresses with context takeover, with `--plain` not at all.

use tower_websocket::{
    CloseCode, Compression, Config, Message, WebSocket,
    client::{Client, ConnectError},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let server = args
        .next()
        .ok_or("usage: conformance_client URI [--takeover | --plain]")?;
    let (agent, compression) = match args.next().as_deref() {
        None => ("shared", Some(Compression::shared())),
        Some("--takeover") => ("takeover", Some(Compression::dedicated())),
        Some("--plain") => ("plain", None),
        Some(other) => return Err(format!("unknown option {other}").into()),
    };
    let config = Config::default()
        .max_message_size(256 << 20)
        .compression(compression);
    let client = Client::new().config(config);
    let agent = format!("tower-websocket-{agent}");

    let mut socket = client.connect(format!("{server}/getCaseCount")).await?;
    let count = socket.recv().await?;
    let count: u32 = count
        .as_ref()
        .and_then(Message::as_text)
        .unwrap_or_default()
        .parse()?;
    println!("{count} cases for {agent}");
    for case in 1..=count {
        run(
            &client,
            format!("{server}/runCase?case={case}&agent={agent}"),
        )
        .await?;
    }
    let socket = client
        .connect(format!("{server}/updateReports?agent={agent}"))
        .await?;
    finish(socket).await;
    Ok(())
}

/// Echoes until the case is over, however it ends.
async fn run(client: &Client, uri: String) -> Result<(), ConnectError> {
    let mut socket = client.connect(uri).await?;
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
