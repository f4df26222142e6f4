//! Our end of the conversations that `tests/recorded/record` records.
//!
//! - `ours server 9001` has an echo at `/plain`, one at `/deflate` that agrees on compression, and the
//!   page for browsers at `/`: HTTP/1.1 and HTTP/2 without TLS.
//! - `ours client 9001 1 deflate peer` connects to a foreign echo by HTTP/1.1 (or `2`), with compression
//!   (or `plain`), and holds the conversation that ends like this: `peer` closes, `ours` does, or
//!   `abort`.

use std::error::Error;

use axum::{Router, response::Html, routing::get};
use http::{Request, Uri};
use tokio::net::{TcpListener, TcpStream};
use tower::BoxError;
use tower_websocket::{
    CloseCode, CloseFrame, Compression, Config, Message, OriginPolicy, WebSocket, WebSocketLayer,
    client::{Client, HttpVersion},
    handler, serve,
};

#[path = "script.rs"]
mod script;

/// Echoes, and closes when it is asked to.
async fn echo(mut socket: WebSocket) -> Result<(), tower_websocket::Error> {
    while let Some(message) = socket.recv().await? {
        if message.as_text() == Some(script::CLOSE_ME) {
            socket.close(frame(script::OUR_CLOSE)?);
        } else {
            socket.send(message).await?;
        }
    }
    Ok(())
}

fn frame((code, reason): (u16, &str)) -> Result<CloseFrame, tower_websocket::Error> {
    let code = CloseCode::new(code).ok_or(tower_websocket::Error::Closed)?;
    Ok(CloseFrame::new(code, reason))
}

async fn serve_echo(port: u16) -> Result<(), BoxError> {
    let layer = |config: Config| {
        WebSocketLayer::new(handler(echo)).config(config.origin(OriginPolicy::Any))
    };
    let deflate = Config::default().compression(Compression::shared());
    let app = Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route_service("/plain", layer(Config::default()).endpoint())
        .route_service("/deflate", layer(deflate).endpoint());
    serve(TcpListener::bind(("127.0.0.1", port)).await?, app).await?;
    Ok(())
}

async fn converse(port: u16, http: &str, path: &str, ending: &str) -> Result<(), BoxError> {
    let deflate = path == "deflate";
    let mut config = Config::default();
    if deflate {
        config = config.compression(Compression::shared());
    }
    let version = match http {
        "2" => HttpVersion::Http2,
        _ => HttpVersion::Http1,
    };
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let uri: Uri = format!("ws://localhost:{port}/{path}").parse()?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let client = Client::new().config(config).http_version(version);
    let mut socket = client.request_over(stream, request).await?.into_body();
    for message in script::messages(deflate) {
        socket.send(Message::from(message.clone())).await?;
        let echoed = socket.recv().await?;
        if echoed != Some(Message::from(message)) {
            return Err(format!("not an echo: {echoed:?}").into());
        }
    }
    match ending {
        "peer" => socket.send(script::CLOSE_ME).await?,
        "abort" => socket.send(script::ABORT_NOW).await?,
        _ => socket.close(frame(script::PEER_CLOSE)?),
    }
    loop {
        let received = socket.recv().await;
        println!("{received:?}");
        if !matches!(received, Ok(Some(_))) {
            return Ok(());
        }
    }
}

impl From<script::Said> for Message {
    fn from(said: script::Said) -> Self {
        match said {
            script::Said::Text(text) => text.into(),
            script::Said::Binary(bytes) => bytes.into(),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["server", port] => serve_echo(port.parse()?).await,
        ["client", port, http, path, ending] => converse(port.parse()?, http, path, ending).await,
        _ => Err("usage: ours server PORT, or ours client PORT HTTP PATH ENDING".into()),
    }
}
