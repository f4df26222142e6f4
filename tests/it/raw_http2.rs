//! Streams of `h2` under a connection, for servers without hyper.

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Request, Response, StatusCode};
use tokio::{io::DuplexStream, sync::oneshot};
use tower::ServiceExt;
use tower_websocket::{Http2Stream, OnUpgrade, client::Client, endpoint, handler};

use crate::support::{close, echo, echoes, within};

/// Serves one connection of HTTP/2 without hyper.
async fn serve(stream: DuplexStream) {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.unwrap();
        tokio::spawn(answer(request, respond));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (mut head, recv) = request.into_parts();
    let (hand_over, stream) = oneshot::channel();
    let stream = async { stream.await.map_err(std::io::Error::other) };
    head.extensions.insert(OnUpgrade::from_future(stream));
    let app = endpoint(handler(echo));
    let response = app.oneshot(Request::from_parts(head, ())).await.unwrap();
    let accepted = response.status() == StatusCode::OK;
    let (head, _) = response.into_parts();
    let send = respond
        .send_response(Response::from_parts(head, ()), !accepted)
        .unwrap();
    if accepted {
        let _gone = hand_over.send(Http2Stream::new(send, recv));
    }
}

#[tokio::test]
async fn server_on_h2_itself_echoes() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(serve(theirs));
    let connection = Client::new()
        .http2_over(ours, "ws://localhost/")
        .await
        .unwrap();
    let mut socket = connection.connect("/echo").await.unwrap();
    for size in [0, 1, 125, 4095, 4096, 70_000, 1 << 20] {
        echoes(&mut socket, &"x".repeat(size)).await;
    }
    within(close(socket)).await;
}
