//! Many sockets over one HTTP/2 connection: what they share, and what they do not.

use std::{pin::pin, task::Poll, time::Duration};

use axum::{Router, routing::any};
use bytes::Bytes;
use tokio::{
    io::duplex,
    time::{Instant, sleep},
};
use tower_websocket::{
    CloseCode, CloseFrame, Config, WebSocket, WebSocketLayer,
    client::{Client, ConnectError, Http2Connection},
};

use super::support::{
    self, ACK, END_STREAM, Frame, GOAWAY, HEADERS, Http2, NOT_FOUND, OK, SETTINGS, app, served,
    socket, tasks,
};
use crate::{
    session::support::{PIPE, idle, once, within},
    support::{close, echoes, handler},
};

async fn connection() -> Http2Connection {
    Client::new()
        .connect_http2_over(served(app()), "ws://localhost/")
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn connection_ends_with_its_last_holder() {
    let connection = connection().await;
    let clone = connection.clone();
    let mut socket = connection.connect("/").await.unwrap();
    drop(connection);
    idle().await;
    let second = clone.connect("/").await.unwrap();
    drop(clone);
    close(second).await;
    // The socket alone holds it.
    sleep(Duration::from_secs(60)).await;
    echoes(&mut socket, "still here").await;
    close(socket).await;
    idle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn client_says_that_it_leaves() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    drop(connection);
    let goaway = within(server.next()).await.unwrap();
    assert_eq!(goaway.kind, GOAWAY);
    assert_eq!(goaway.payload[4..8], [0; 4], "NO_ERROR");
    assert_eq!(within(server.next()).await, None);
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn end_of_one_socket_leaves_its_siblings_alone() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    let (mut first, a) = socket(&connection, &mut server).await;
    let (mut second, b) = socket(&connection, &mut server).await;
    let (mut third, c) = socket(&connection, &mut server).await;
    let (mut last, d) = socket(&connection, &mut server).await;
    // Reset, a violation, and a proper end.
    server.write(&Frame::reset(a, 2)).await;
    assert!(within(first.recv()).await.is_err());
    server
        .write(&Frame::new(support::DATA, 0, b, *b"\xff\x00"))
        .await;
    assert!(within(second.recv()).await.is_err());
    let mut end = b"\x88\x02".to_vec();
    end.extend(1000_u16.to_be_bytes());
    server
        .write(&Frame::new(support::DATA, END_STREAM, c, end))
        .await;
    assert_eq!(within(third.recv()).await.unwrap(), None);
    server
        .write(&Frame::new(support::DATA, 0, d, *b"\x81\x02hi"))
        .await;
    assert_eq!(within(last.recv()).await.unwrap(), Some("hi".into()));
    within(first.closed()).await;
    within(second.closed()).await;
    within(third.closed()).await;
    let (_fifth, stream) = {
        // Frames of those before come first.
        let opening = tokio::spawn({
            let connection = connection.clone();
            async move { connection.connect("/").await }
        });
        let mut frame = server.next().await.unwrap();
        while frame.kind != HEADERS {
            assert_ne!(frame.kind, GOAWAY);
            frame = server.next().await.unwrap();
        }
        server.write(&Frame::headers(frame.stream, OK)).await;
        (within(opening).await.unwrap().unwrap(), frame.stream)
    };
    assert_eq!(stream, d + 2);
}

#[tokio::test(start_paused = true)]
async fn servers_limit_of_streams_is_kept_and_waiters_are_served() {
    let (ours, theirs) = duplex(PIPE);
    tokio::spawn(async {
        let mut builder = h2::server::Builder::new();
        // One stream more is a reset in h2.
        builder.enable_connect_protocol().max_concurrent_streams(2);
        let mut server = builder.handshake::<_, Bytes>(theirs).await.unwrap();
        while let Some(request) = server.accept().await {
            let (request, mut respond) = request.unwrap();
            let send = respond
                .send_response(http::Response::new(()), false)
                .unwrap();
            let stream = tower_websocket::session::Http2Stream::new(send, request.into_body());
            tokio::spawn(async {
                let (mut read, mut write) = tokio::io::split(stream);
                // What a client says comes back, its Close too: masked, which ends the socket.
                let _gone = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let connection = Client::new()
        .handshake_timeout(None)
        .connect_http2_over(ours, "ws://localhost/")
        .await
        .unwrap();
    assert_eq!(connection.max_sockets(), 2);
    let mut sockets = vec![];
    for _ in 0..20 {
        let connection = connection.clone();
        sockets.push(tokio::spawn(async move {
            let socket = connection.connect("/").await.unwrap();
            idle().await;
            drop(socket);
        }));
    }
    for socket in sockets {
        within(socket).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn goaway_lets_open_sockets_finish() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    let (mut open, stream) = socket(&connection, &mut server).await;
    let goaway = [stream.to_be_bytes(), 0_u32.to_be_bytes()].concat();
    server.write(&Frame::new(GOAWAY, 0, 0, goaway)).await;
    idle().await;
    let error = within(connection.connect("/")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
    server
        .write(&Frame::new(support::DATA, 0, stream, *b"\x81\x02hi"))
        .await;
    assert_eq!(within(open.recv()).await.unwrap(), Some("hi".into()));
    open.send("ho").await.unwrap();
    let frame = within(server.next()).await.unwrap();
    assert_eq!((frame.kind, frame.stream), (support::DATA, stream));
}

/// What a server says last does not take back what it has said before, also where the one who asked
/// waited for a free stream and comes to look late.
#[tokio::test(start_paused = true)]
async fn answer_that_comes_with_a_goaway_is_an_answer() {
    for late in [1, 5].map(Duration::from_millis) {
        for answer in [OK, NOT_FOUND] {
            let one = [(support::MAX_CONCURRENT_STREAMS, 1)];
            let (connection, mut server) = Http2::pair(&Client::new(), &one).await;
            let (_first, _) = socket(&connection, &mut server).await;
            let leaving = async {
                idle().await;
                server.write(&Frame::reset(1, support::CANCEL)).await;
                while server.next().await.unwrap().kind != HEADERS {}
                let goaway = [3_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat();
                server.write(&Frame::headers(3, answer)).await;
                server
                    .write(&Frame::new(support::DATA, END_STREAM, 3, *b"\x81\x02hi"))
                    .await;
                server.write(&Frame::new(GOAWAY, 0, 0, goaway)).await;
            };
            let connecting = async {
                let mut connecting = pin!(connection.connect("/"));
                loop {
                    if let Poll::Ready(result) = once(connecting.as_mut()).await {
                        return result;
                    }
                    sleep(late).await;
                }
            };
            let (result, ()) = within(async { tokio::join!(connecting, leaving) }).await;
            match result {
                Ok(mut socket) => {
                    assert_eq!(within(socket.recv()).await.unwrap(), Some("hi".into()));
                }
                Err(error) => {
                    assert_eq!(answer, NOT_FOUND, "{error:?}");
                    let response = error.response().unwrap();
                    assert_eq!(response.body(), &b"\x81\x02hi"[..]);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn goaway_before_the_answer_is_an_error() {
    for (last, code) in [(0_u32, 0_u32), (0, 11), (1, 2)] {
        let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
        let leaving = async {
            assert_eq!(server.next().await.unwrap().kind, HEADERS);
            let goaway = [last.to_be_bytes(), code.to_be_bytes()].concat();
            server.write(&Frame::new(GOAWAY, 0, 0, goaway)).await;
            drop(server);
        };
        let (error, ()) = tokio::join!(within(connection.connect("/")), leaving);
        let error = error.unwrap_err();
        assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
    }
}

/// A connection tells that it is over, and the next one is new.
#[tokio::test(start_paused = true)]
async fn connection_after_goaway_is_closed() {
    for code in [0_u32, 2, 11] {
        let client = Client::new();
        let (connection, mut server) = Http2::pair(&client, &[]).await;
        let (mut open, stream) = socket(&connection, &mut server).await;
        assert!(!connection.is_closed());
        let goaway = [stream.to_be_bytes(), code.to_be_bytes()].concat();
        server.write(&Frame::new(GOAWAY, 0, 0, goaway)).await;
        idle().await;
        assert!(connection.is_closed(), "{code}");
        assert!(connection.clone().is_closed(), "{code}");
        let start = Instant::now();
        let error = within(connection.connect("/")).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::ZERO);
        let ConnectError::Io(error) = error else {
            panic!("{code}: {error:?}");
        };
        assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
        assert!(error.to_string().contains("GOAWAY"), "{error}");
        // The socket that was open goes on.
        server
            .write(&Frame::new(support::DATA, 0, stream, *b"\x81\x02hi"))
            .await;
        assert_eq!(within(open.recv()).await.unwrap(), Some("hi".into()));
        let (new, mut server) = Http2::pair(&client, &[]).await;
        let (_socket, stream) = socket(&new, &mut server).await;
        assert_eq!(stream, 1);
        assert!(!new.is_closed());
    }
}

#[tokio::test(start_paused = true)]
async fn connection_that_has_ended_is_closed() {
    let (connection, server) = Http2::pair(&Client::new(), &[]).await;
    assert!(!connection.is_closed());
    drop(server);
    idle().await;
    assert!(connection.is_closed());
    let start = Instant::now();
    within(connection.connect("/")).await.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(tasks(), 0);
}

/// RFC 9113 §7: what the server wants instead is told, also where it leaves the stream open.
#[tokio::test(start_paused = true)]
async fn goaway_that_requires_http1_is_told() {
    for ends in [false, true] {
        for last in [0_u32, 1] {
            let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
            let leaving = async {
                assert_eq!(server.next().await.unwrap().kind, HEADERS);
                let goaway = [last.to_be_bytes(), 13_u32.to_be_bytes()].concat();
                server.write(&Frame::new(GOAWAY, 0, 0, goaway)).await;
                (!ends).then_some(server)
            };
            let (error, _server) = tokio::join!(within(connection.connect("/")), leaving);
            let error = error.unwrap_err();
            let shown = format!("{error:?}");
            assert!(matches!(error, ConnectError::Io(_)), "{shown}");
            assert!(shown.contains("HTTP_1_1_REQUIRED"), "{shown}");
        }
    }
}

/// RFC 8441 §3: it must not; who does gets no more handshakes.
#[tokio::test(start_paused = true)]
async fn extended_connect_that_is_switched_off_is_not_used() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    let (_open, _) = socket(&connection, &mut server).await;
    let off = Frame::settings(&[(support::ENABLE_CONNECT_PROTOCOL, 0)]);
    server.write(&off).await;
    // Its acknowledgement.
    while server.any().await.unwrap() != Frame::new(SETTINGS, ACK, 0, []) {}
    let error = within(connection.connect("/")).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::NoExtendedConnect),
        "{error:?}"
    );
}

/// A socket that nobody receives from fills its own window only.
#[tokio::test(start_paused = true)]
async fn socket_that_is_not_read_does_not_stop_its_siblings() {
    let config = Config::default().max_message_size(None).ping_interval(None);
    let client = Client::new().config(config);
    let (ours, theirs) = duplex(PIPE);
    let flood = handler(
        async |socket: WebSocket| {
            while socket.send(vec![0; 16 << 10]).await.is_ok() {}
        },
    );
    let app = Router::new()
        .route("/flood", any(async || "").layer(WebSocketLayer::new(flood)))
        .merge(app());
    tokio::spawn(async {
        let mut server =
            hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
        server.http2().enable_connect_protocol();
        let app = hyper_util::service::TowerToHyperService::new(app);
        let io = hyper_util::rt::TokioIo::new(theirs);
        let _gone = server.serve_connection_with_upgrades(io, app).await;
    });
    let connection = client
        .connect_http2_over(ours, "ws://localhost/")
        .await
        .unwrap();
    let mut unread = vec![];
    for _ in 0..8 {
        unread.push(connection.connect("/flood").await.unwrap());
    }
    idle().await;
    let mut socket = connection.connect("/").await.unwrap();
    within(echoes(&mut socket, &"x".repeat(100_000))).await;
}

#[tokio::test(start_paused = true)]
async fn connection_that_breaks_ends_every_socket() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    let (mut one, _) = socket(&connection, &mut server).await;
    let (mut two, _) = socket(&connection, &mut server).await;
    drop(server);
    for socket in [&mut one, &mut two] {
        assert!(within(socket.recv()).await.is_err());
        within(socket.closed()).await;
    }
    let error = within(connection.connect("/")).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
    idle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn dead_connection_is_found_by_the_pings_of_its_sockets() {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    let (mut socket, _) = socket(&connection, &mut server).await;
    let start = Instant::now();
    let error = socket.recv().await.unwrap_err();
    assert!(
        matches!(error, tower_websocket::Error::Timeout(_)),
        "{error:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(60));
    drop((connection, socket));
    sleep(Duration::from_secs(6)).await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn reason_of_a_close_is_seen_over_http2() {
    let leave = handler(async |socket: WebSocket| {
        socket.close(CloseFrame::new(CloseCode::SERVICE_RESTART, "later"));
    });
    let app = Router::new().route("/", any(async || "").layer(WebSocketLayer::new(leave)));
    let connection = Client::new()
        .connect_http2_over(served(app), "ws://localhost/")
        .await
        .unwrap();
    let mut socket = connection.connect("/").await.unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), None);
    let frame = socket.received_close().unwrap();
    assert_eq!(
        (frame.code(), frame.reason()),
        (CloseCode::SERVICE_RESTART, "later")
    );
}
