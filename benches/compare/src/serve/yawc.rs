//! yawc on hyper.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::server::conn::{http1, http2};
use hyper::{Request, Response, body::Incoming as Body, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use yawc::{CompressionLevel, Options, WebSocket, WebSocketError, frame::OpCode};

use super::incoming::Incoming;
use super::{BoxError, Job, Mode};

pub(super) async fn serve(incoming: Incoming, job: Job) -> Result<(), BoxError> {
    if job.http2 {
        return serve_http2(incoming).await;
    }
    let compressed = || options().with_compression_level(CompressionLevel::default());
    let options = match job.mode {
        Mode::Dedicated => compressed(),
        Mode::Shared => compressed()
            .server_no_context_takeover()
            .client_no_context_takeover(),
        Mode::Echo | Mode::Broadcast | Mode::Drain => options(),
    };
    loop {
        let stream = incoming.accept().await;
        let options = options.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| upgrade(request, options.clone()));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.with_upgrades().await
        });
    }
}

/// The same over HTTP/2 (RFC 8441).
async fn serve_http2(incoming: Incoming) -> Result<(), BoxError> {
    loop {
        let stream = incoming.accept().await;
        tokio::spawn(async move {
            let service = service_fn(|request| upgrade(request, options()));
            let mut server = http2::Builder::new(TokioExecutor::new());
            server.enable_connect_protocol();
            server.serve_connection(TokioIo::new(stream), service).await
        });
    }
}

/// The defaults, but for the largest message: 1 MiB and its header are more than they take.
fn options() -> Options {
    Options::default().with_limits(4 << 20, 8 << 20)
}

async fn upgrade(
    mut request: Request<Body>,
    options: Options,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, socket) = WebSocket::upgrade_with_options(&mut request, options)?;
    tokio::spawn(async move {
        let mut socket = socket.await?;
        while let Some(frame) = socket.next().await {
            match frame.opcode() {
                OpCode::Text | OpCode::Binary => socket.send(frame).await?,
                // A Close frame is answered by receiving on.
                _ => {}
            }
        }
        Ok::<(), BoxError>(())
    });
    Ok(response)
}
