//! fastwebsockets on hyper.

use bytes::Bytes;
use fastwebsockets::{
    FragmentCollector, Frame, OpCode, Payload, WebSocket, WebSocketError, upgrade::upgrade,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, body::Incoming as Body, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::broadcast;

use super::incoming::Incoming;
use super::{BoxError, Mode};

type Socket = WebSocket<TokioIo<Upgraded>>;

pub(super) async fn serve(incoming: Incoming, mode: Mode) -> Result<(), BoxError> {
    let (all, _) = broadcast::channel::<Bytes>(1024);
    loop {
        let stream = incoming.accept().await;
        let all = all.clone();
        tokio::spawn(async move {
            let service = service_fn(move |mut request: Request<Body>| {
                let (all, mode) = (all.clone(), mode.at(request.uri().path()));
                async move {
                    let (response, socket) = upgrade(&mut request)?;
                    tokio::spawn(async move {
                        match mode {
                            Mode::Broadcast => forward(socket.await?, all).await,
                            _ => echo(socket.await?).await,
                        }
                    });
                    Ok::<_, WebSocketError>(response)
                }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.with_upgrades().await
        });
    }
}

async fn echo(socket: Socket) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}

async fn forward(socket: Socket, all: broadcast::Sender<Bytes>) -> Result<(), WebSocketError> {
    let (mut receive, mut send) = socket.split(tokio::io::split);
    let mut feed = all.subscribe();
    let sending = tokio::spawn(async move {
        while let Ok(message) = feed.recv().await {
            let frame = Frame::new(true, OpCode::Binary, None, Payload::Borrowed(&message));
            if send.write_frame(frame).await.is_err() {
                break;
            }
        }
    });
    let mut obliged = |_: Frame<'_>| async { Ok::<(), WebSocketError>(()) };
    while let Ok(frame) = receive.read_frame(&mut obliged).await {
        match frame.opcode {
            // Nobody may be there to receive it.
            OpCode::Text | OpCode::Binary => drop(all.send(Bytes::copy_from_slice(&frame.payload))),
            OpCode::Close => break,
            _ => {}
        }
    }
    sending.abort();
    Ok(())
}
