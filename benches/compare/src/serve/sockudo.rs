//! sockudo-ws: bare, in axum, and over HTTP/2.

use std::sync::Arc;

use axum::{Router, routing::get};
use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use sockudo_ws::axum_integration::{WebSocket, WebSocketUpgrade};
use sockudo_ws::pubsub::PubSub;
use sockudo_ws::{
    Compression, Config, Http2, Message, WebSocketServer, WebSocketStream, handshake,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::incoming::{Incoming, Stream};
use super::{BoxError, Job, Mode};

pub(super) async fn serve(incoming: Incoming, job: Job) -> Result<(), BoxError> {
    match job.mode {
        _ if job.http2 => serve_http2(incoming).await,
        Mode::Echo | Mode::Broadcast | Mode::Drain => serve_bare(incoming, job.mode).await,
        Mode::Shared => serve_axum(incoming, Compression::Shared).await,
        Mode::Dedicated => serve_axum(incoming, Compression::Dedicated).await,
    }
}

async fn serve_bare(incoming: Incoming, mode: Mode) -> Result<(), BoxError> {
    let all = Arc::new(PubSub::new());
    loop {
        let stream = incoming.accept().await;
        let all = all.clone();
        tokio::spawn(async move {
            let (socket, mode) = accept(stream, mode).await?;
            match mode {
                Mode::Broadcast => forward(socket, &all).await,
                _ => echo(socket).await,
            }
        });
    }
}

async fn accept(
    mut stream: Stream,
    mode: Mode,
) -> Result<(WebSocketStream<Stream>, Mode), BoxError> {
    let mut head = BytesMut::with_capacity(4096);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err("no handshake".into());
        }
        if let Some((request, _used)) = handshake::parse_request(&head)? {
            let mode = mode.at(&request.path);
            let key = handshake::generate_accept_key(request.key);
            stream
                .write_all(&handshake::build_response(&key, None, None))
                .await?;
            stream.flush().await?;
            let socket = WebSocketStream::server(stream, Config::default());
            return Ok((socket, mode));
        }
    }
}

async fn echo(mut socket: WebSocketStream<Stream>) -> Result<(), BoxError> {
    while let Some(message) = socket.next().await {
        match message? {
            message @ (Message::Text(_) | Message::Binary(_)) => socket.send(message).await?,
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

async fn forward(socket: WebSocketStream<Stream>, all: &PubSub) -> Result<(), BoxError> {
    let (mut receive, mut send) = socket.split();
    let (feed, mut queue) = tokio::sync::mpsc::unbounded_channel();
    let id = all.create_subscriber(feed);
    all.subscribe(id, "all");
    loop {
        tokio::select! {
            message = receive.next() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    all.publish("all", message);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
            Some(message) = queue.recv() => send.send(message).await?,
        }
    }
    all.remove_subscriber(id);
    Ok(())
}

/// In axum, which is where compression is negotiated for one.
async fn serve_axum(incoming: Incoming, compression: Compression) -> Result<(), BoxError> {
    let upgrade = async move |upgrade: WebSocketUpgrade| {
        let config = Config::builder().compression(compression).build();
        upgrade
            .config(config)
            .on_upgrade(|mut socket: WebSocket| async move {
                while let Some(Ok(message)) = socket.next().await {
                    let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
                    let is_over = matches!(message, Message::Close(_));
                    if is_over || (is_data && socket.send(message).await.is_err()) {
                        break;
                    }
                }
            })
    };
    incoming.serve(Router::new().route("/", get(upgrade))).await
}

/// Over HTTP/2 (RFC 8441).
async fn serve_http2(incoming: Incoming) -> Result<(), BoxError> {
    let server = WebSocketServer::<Http2>::new(Config::default());
    loop {
        let stream = incoming.accept().await;
        let server = server.clone();
        tokio::spawn(async move {
            let echo = |mut socket: WebSocketStream<_>, _request| async move {
                while let Some(Ok(message)) = socket.next().await {
                    let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
                    let is_over = matches!(message, Message::Close(_));
                    if is_over || (is_data && socket.send(message).await.is_err()) {
                        break;
                    }
                }
            };
            server.serve(stream, echo).await
        });
    }
}
