//! tokio-websockets, without an HTTP server.

use futures_util::{SinkExt, StreamExt};
use tokio::sync::broadcast;
use tokio_websockets::{Error, Message, ServerBuilder, WebSocketStream};

use super::incoming::{Incoming, Stream};
use super::{BoxError, Mode};

pub(super) async fn serve(incoming: Incoming, mode: Mode) -> Result<(), BoxError> {
    let (all, _) = broadcast::channel::<Message>(1024);
    loop {
        let stream = incoming.accept().await;
        let all = all.clone();
        tokio::spawn(async move {
            let (request, socket) = ServerBuilder::new().accept(stream).await?;
            match mode.at(request.uri().path()) {
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
    mut socket: WebSocketStream<Stream>,
    all: broadcast::Sender<Message>,
) -> Result<(), Error> {
    let mut feed = all.subscribe();
    loop {
        tokio::select! {
            message = socket.next() => match message.transpose()? {
                // Nobody may be there to receive it.
                Some(message) if message.is_text() || message.is_binary() => drop(all.send(message)),
                Some(_) => {}
                None => return Ok(()),
            },
            message = feed.recv() => match message {
                Ok(message) => socket.send(message).await?,
                Err(_) => return Ok(()),
            },
        }
    }
}
