//! tokio-tungstenite, without an HTTP server.

use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use super::incoming::{Incoming, Stream};
use super::{BoxError, Mode};

pub(super) async fn serve(incoming: Incoming, mode: Mode) -> Result<(), BoxError> {
    let (all, _) = broadcast::channel::<Message>(1024);
    loop {
        let stream = incoming.accept().await;
        let all = all.clone();
        tokio::spawn(async move {
            let mut path = String::new();
            let look = |request: &Request, response: Response| {
                request.uri().path().clone_into(&mut path);
                Ok(response)
            };
            let socket = accept_hdr_async(stream, look).await?;
            match mode.at(&path) {
                Mode::Broadcast => forward(socket, all).await,
                _ => echo(socket).await,
            }
        });
    }
}

async fn echo(mut socket: WebSocketStream<Stream>) -> Result<(), Error> {
    while let Some(message) = socket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn forward(
    socket: WebSocketStream<Stream>,
    all: broadcast::Sender<Message>,
) -> Result<(), Error> {
    let (mut send, mut receive) = socket.split();
    let mut feed = all.subscribe();
    let sending = tokio::spawn(async move {
        while let Ok(message) = feed.recv().await {
            if send.send(message).await.is_err() {
                break;
            }
        }
    });
    while let Some(Ok(message)) = receive.next().await {
        if message.is_text() || message.is_binary() {
            // Nobody may be there to receive it.
            drop(all.send(message));
        }
    }
    sending.abort();
    Ok(())
}
