//! Streams that no HTTP was ever spoken on, in both roles.

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, duplex};
use tower_websocket::{CloseCode, WebSocket, protocol::Role};

use super::{agreed, both, serve, silent};
use crate::{
    session::support::{Plan, Wire, lock, within},
    support::{Http, close, echoes, on_both},
};

/// Has two ends of a stream converse, each as `spawn` makes it.
async fn converse<T>(client: T, server: T, version: Version)
where
    T: AsyncRead + AsyncWrite + Send + 'static,
{
    let server = WebSocket::over(server, Role::Server).version(version);
    let client = WebSocket::over(client, Role::Client).version(version);
    let server = tokio::spawn(serve(server.spawn().unwrap()));
    let mut client = client.config(silent()).spawn().unwrap();
    assert!(client.info().is_none() && client.subprotocol().is_none());
    for size in [0, 1, 125, 126, 70_000, 1 << 20] {
        within(echoes(&mut client, &"x".repeat(size))).await;
    }
    within(close(client)).await;
    within(server).await.unwrap();
}

#[tokio::test]
async fn pipes_in_memory_carry_connections_of_every_version() {
    for version in [Version::HTTP_11, Version::HTTP_2, Version::HTTP_3] {
        let (client, server) = duplex(4 << 10);
        converse(client, server, version).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn unix_socket_carries_a_connection() {
    let (client, server) = tokio::net::UnixStream::pair().unwrap();
    converse(client, server, Version::HTTP_11).await;
}

#[tokio::test]
async fn tcp_carries_a_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::net::TcpStream::connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    converse(client, server, Version::HTTP_11).await;
}

/// From HTTP/2 on a stream is one of many, and written in pieces of few DATA frames.
#[tokio::test]
async fn version_of_http_says_how_a_stream_is_written() {
    on_both(async |http| {
        for negotiated in [false, true] {
            let (ours, _theirs) = duplex(1 << 20);
            let wire = Wire::new(ours, Plan::default());
            let log = wire.log();
            let session = WebSocket::over(wire, Role::Server).config(silent());
            let session = if negotiated {
                let (_, accepted) = agreed(http, &silent(), &silent());
                session.negotiated(accepted)
            } else {
                session.version(http.version())
            };
            let socket = session.spawn().unwrap();
            socket.send("x".repeat(100_000)).await.unwrap();
            socket.flush().await.unwrap();
            let largest = lock(&log).writes.iter().max().copied();
            assert_eq!(largest <= Some(32 << 10), http == Http::Two, "{largest:?}");
        }
    })
    .await;
}

/// Two that are both the same endpoint do not understand each other (RFC 6455 §5.1).
#[tokio::test]
async fn wrong_role_is_a_broken_protocol_and_no_panic() {
    for role in both() {
        let (here, there) = duplex(4 << 10);
        let mut here = WebSocket::over(here, role).spawn().unwrap();
        let there = WebSocket::over(there, role).spawn().unwrap();
        there.send("hello").await.unwrap();
        let error = within(here.recv()).await.unwrap_err();
        assert_eq!(
            error.close_code(),
            Some(CloseCode::PROTOCOL_ERROR),
            "{role:?}"
        );
    }
}
