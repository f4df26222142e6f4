//! Servers that answer the handshake by themselves, shaped like engineioxide's and jsonrpsee's.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Bytes, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{io::BufStream, sync::mpsc};
use tower::{Service, service_fn};
use tower_websocket::{
    Compression, Config, WebSocket,
    handshake::{key, server},
    protocol::Role,
    session::Sessions,
};

use super::serve;
use crate::support::{
    Http,
    http::{Ask, Server, frame},
    on_both,
};

type Empty = Full<Bytes>;

/// As engineioxide upgrades: a tower service that knows nothing of this crate's handshake, writes the answer by hand and
/// has its task wait for the stream.
#[derive(Clone)]
struct Engine;

impl<B> Service<Request<B>> for Engine {
    type Response = Response<Empty>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Empty>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, _) = request.into_parts();
        let mut response = Response::new(Empty::default());
        let Some(upgrade) = head.extensions.remove::<OnUpgrade>() else {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return std::future::ready(Ok(response));
        };
        if head.method == Method::GET {
            let accept = key::accept(head.headers["sec-websocket-key"].as_bytes());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        tokio::spawn(async move {
            let upgraded = TokioIo::new(upgrade.await.unwrap());
            let session = WebSocket::over(upgraded, Role::Server).version(head.version);
            serve(session.spawn().unwrap()).await;
        });
        std::future::ready(Ok(response))
    }
}

#[tokio::test]
async fn tower_service_answers_by_hand_and_has_a_connection() {
    let server = Server::start(Engine).await;
    on_both(async |http| {
        let ask = Ask::handshake(http, "/engine.io");
        // On HTTP/1.1 a frame comes with the head, and hyper has read it before there is a connection.
        let mut peer = ask
            .tail(frame(0x1, b"early"))
            .send(&server)
            .await
            .opened(http);
        if http == Http::Two {
            peer.send(0x1, b"early").await;
        }
        assert_eq!(
            peer.frame().await,
            Some((0x1, Bytes::from_static(b"early")))
        );
        peer.send(0x9, b"?").await;
        assert_eq!(peer.frame().await, Some((0xa, Bytes::from_static(b"?"))));
        peer.echoes("late").await;
        peer.close().await;
    })
    .await;
}

/// What a server shaped like jsonrpsee's does with the stream: as it is, or in buffers.
#[derive(Clone, Copy)]
enum Stream {
    Hyper,
    Buffered,
}

/// As jsonrpsee serves: a service of hyper that negotiates by `handshake::server`, then has a task that receives and one
/// that sends.
async fn answer(
    mut request: Request<hyper::body::Incoming>,
    sessions: Sessions,
    stream: Stream,
) -> Result<Response<Empty>, Infallible> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    let protocol = head.extensions.get::<hyper::ext::Protocol>();
    let protocol = protocol.map(hyper::ext::Protocol::as_str);
    let accepted = match server::negotiate(&head, protocol, sessions.configuration()) {
        Ok(accepted) => accepted,
        Err(rejection) => return Ok(rejection.response(head.version).map(Empty::from)),
    };
    let response = accepted.response();
    tokio::spawn(async move {
        let upgraded = upgrade.await.unwrap();
        let session = match stream {
            Stream::Hyper => sessions.over_upgraded(upgraded),
            Stream::Buffered => sessions.over(BufStream::new(TokioIo::new(upgraded))),
        };
        let socket = session.negotiated(accepted).uri(&head.uri).spawn().unwrap();
        assert_eq!(socket.subprotocol(), Some("jsonrpc"));
        let info = socket.info().unwrap();
        assert_eq!((info.path(), info.version()), ("/rpc", head.version));
        let (sender, mut receiver) = socket.split();
        let (calls, mut called) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(call) = called.recv().await {
                sender.send(call).await.unwrap();
            }
        });
        while let Some(call) = receiver.recv().await.unwrap() {
            calls.send(call).unwrap();
        }
    });
    Ok(response.map(|()| Empty::default()))
}

#[tokio::test]
async fn service_of_hyper_negotiates_and_has_two_tasks_for_a_connection() {
    for stream in [Stream::Hyper, Stream::Buffered] {
        let config = Config::default()
            .subprotocols(["jsonrpc"])
            .compression(Compression::shared().threshold(0));
        let sessions = Sessions::new(Role::Server).config(config);
        let server = Server::start(service_fn(move |request| {
            answer(request, sessions.clone(), stream)
        }))
        .await;
        on_both(async |http| {
            let ask = Ask::handshake(http, "/rpc?token=secret")
                .header("sec-websocket-protocol", "jsonrpc")
                .header("sec-websocket-extensions", "permessage-deflate");
            let answer = ask.send(&server).await;
            assert_eq!(answer.header("sec-websocket-protocol"), Some("jsonrpc"));
            let extensions = answer.header("sec-websocket-extensions");
            let expected =
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
            assert_eq!(extensions, Some(expected));
            let mut peer = answer.opened(http);
            // RFC 7692 §7.2.3.1.
            let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
            let mut compressed = frame(0x1, hello);
            compressed[0] |= 0x40;
            peer.write(&compressed).await;
            // It would not get shorter.
            let hello = Bytes::from_static(b"Hello");
            assert_eq!(peer.whole_frame().await, Some((0x81, hello)));
            peer.send(0x1, &[b'x'; 100]).await;
            let (first, payload) = peer.whole_frame().await.unwrap();
            assert!(
                first == 0xc1 && payload.len() < 20,
                "{first:#x} {payload:?}"
            );
            peer.close().await;
        })
        .await;
        let refused = Ask::handshake(Http::One, "/rpc").without("sec-websocket-key");
        assert_eq!(refused.send(&server).await.status, StatusCode::BAD_REQUEST);
    }
}
