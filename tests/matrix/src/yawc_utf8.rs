//! yawc on hyper, as in `benches/compare`, with its check of UTF-8, which is off by default.

use std::io;

use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use yawc::{Options, WebSocket, WebSocketError, frame::OpCode};

pub(crate) fn serve(port: u16) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let service = service_fn(upgrade);
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connection.with_upgrades().await
            });
        }
    })
}

async fn upgrade(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let options = Options::default().with_utf8();
    let (response, socket) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(async move {
        let mut socket = socket.await?;
        while let Some(frame) = socket.next().await {
            if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
                socket.send(frame).await?;
            }
        }
        Ok::<(), WebSocketError>(())
    });
    Ok(response)
}
