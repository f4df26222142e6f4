//! Futures that are dropped before they are done.

use std::{future::Future, pin::pin, task::Poll};

use tokio::{
    io::{AsyncReadExt, duplex},
    time::{Duration, sleep},
};
use tower_websocket::{
    WebSocket,
    client::{Client, Http2Connection, HttpVersion},
};

use super::support::{
    DATA, Frame, HEADERS, Http2, MAX_CONCURRENT_STREAMS, OK, RST_STREAM, app, served, tasks,
};
use crate::{
    session::support::{PIPE, idle, once, within},
    support::{Http, close, echoes},
};

fn client(http: Http) -> Client {
    Client::new().http_version(http.pick(HttpVersion::Http1, HttpVersion::Http2))
}

/// Polls a future so many times, with time for everybody else in between, and drops it.
async fn polled<T>(future: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(output) = once(future.as_mut()).await {
            return Some(output);
        }
        idle().await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn connecting_may_be_dropped_at_any_point() {
    for http in [Http::One, Http::Two] {
        let mut given_up = 0;
        loop {
            let client = client(http);
            let opening = client.request_over(served(app()), "ws://localhost/");
            let opened = polled(opening, given_up).await;
            if let Some(response) = opened {
                close(response.unwrap().into_body()).await;
                break;
            }
            sleep(Duration::from_secs(6)).await;
            assert_eq!(tasks(), 0, "{http:?}, {given_up} polls");
            given_up += 1;
        }
        assert!(given_up > 1, "{http:?}: {given_up}");
        idle().await;
        assert_eq!(tasks(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn opening_a_stream_may_be_dropped_at_any_point() {
    let client = client(Http::Two);
    let connection = client
        .connect_http2_over(served(app()), "ws://localhost/")
        .await
        .unwrap();
    idle().await;
    let before = tasks();
    let mut given_up = 0;
    while polled(connection.connect("/"), given_up).await.is_none() {
        given_up += 1;
        idle().await;
    }
    assert!(given_up > 0);
    let mut socket = connection.connect("/").await.unwrap();
    echoes(&mut socket, "hello").await;
    close(socket).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(tasks(), before);
    drop(connection);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn stream_that_is_given_up_is_reset() {
    let (connection, mut server) = Http2::pair(&client(Http::Two), &[]).await;
    let waiting = tokio::spawn(async move { connection.connect("/").await });
    assert_eq!(server.next().await.unwrap().kind, HEADERS);
    waiting.abort();
    assert_eq!(within(server.next()).await, Some(Frame::reset(1, 8)));
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_not_right_resets_the_stream() {
    let (connection, mut server) = Http2::pair(&client(Http::Two), &[]).await;
    let answering = async {
        assert_eq!(server.next().await.unwrap().kind, HEADERS);
        // A literal field (RFC 7541 §6.2.2).
        let mut block = OK.to_vec();
        for text in [&b"sec-websocket-protocol"[..], b"chat"] {
            if block.len() == 1 {
                block.push(0);
            }
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text);
        }
        server.write(&Frame::headers(1, &block)).await;
        server.next().await
    };
    let (error, frame) = tokio::join!(connection.connect("/"), within(answering));
    error.unwrap_err();
    assert_eq!(frame, Some(Frame::reset(1, 8)));
}

#[tokio::test(start_paused = true)]
async fn tcp_connection_of_a_dropped_handshake_is_closed() {
    let (ours, mut theirs) = duplex(PIPE);
    {
        let client = Client::new();
        let opening = client.request_over(ours, "ws://localhost/");
        assert!(polled(opening, 3).await.is_none());
    }
    let mut sent = Vec::new();
    within(theirs.read_to_end(&mut sent)).await.unwrap();
    assert!(sent.starts_with(b"GET / HTTP/1.1\r\n"));
}

/// The one who waits for a free stream is dropped, the one behind gets it.
#[tokio::test(start_paused = true)]
async fn waiter_that_is_dropped_does_not_stop_those_behind() {
    let (connection, socket, mut server) = full().await;
    let connect =
        |connection: Http2Connection| tokio::spawn(async move { connection.connect("/").await });
    let first = connect(connection.clone());
    idle().await;
    let second = connect(connection.clone());
    idle().await;
    first.abort();
    idle().await;
    drop(socket);
    let mut streams = vec![];
    while !second.is_finished() {
        let frame = within(server.next()).await.unwrap();
        if frame.kind == HEADERS {
            // A stream that was given up is reset right behind.
            idle().await;
            streams.push(frame.stream);
            server.write(&Frame::headers(frame.stream, OK)).await;
            idle().await;
        } else {
            assert!(frame.kind == RST_STREAM || frame.stream == 1, "{frame:?}");
        }
    }
    second.await.unwrap().unwrap();
    assert_eq!(streams.last(), Some(&5));
}

/// A connection whose server allows one stream, and the socket on it.
async fn full() -> (Http2Connection, WebSocket, Http2) {
    let one = [(MAX_CONCURRENT_STREAMS, 1)];
    let (connection, mut server) = Http2::pair(&client(Http::Two), &one).await;
    let accepting = async {
        assert_eq!(server.next().await.unwrap().stream, 1);
        server.write(&Frame::headers(1, OK)).await;
    };
    let (socket, ()) = tokio::join!(connection.connect("/"), accepting);
    (connection, socket.unwrap(), server)
}

#[tokio::test(start_paused = true)]
async fn waiter_that_is_dropped_is_reset_when_its_turn_comes() {
    let (connection, _socket, mut server) = full().await;
    assert!(polled(connection.connect("/"), 3).await.is_none());
    server.write(&Frame::reset(1, 8)).await;
    let frame = within(server.next()).await.unwrap();
    assert_eq!((frame.kind, frame.stream), (HEADERS, 3));
    assert_eq!(within(server.next()).await, Some(Frame::reset(3, 8)));
}

/// The server has the close timeout to end its side; what is left of the stream then is reset.
#[tokio::test(start_paused = true)]
async fn stream_that_was_waited_for_is_reset_where_the_server_does_not_end_it() {
    let (connection, _first, mut server) = full().await;
    let opening = async {
        server.write(&Frame::reset(1, 8)).await;
        assert_eq!(server.next().await.unwrap().stream, 3);
        server.write(&Frame::headers(3, OK)).await;
    };
    let waiting = connection.connect("/");
    let (socket, ()) = within(async { tokio::join!(waiting, opening) }).await;
    server
        .write(&Frame::new(DATA, 0, 3, *b"\x88\x02\x03\xe8"))
        .await;
    within(socket.unwrap().closed()).await;
    while within(server.next()).await != Some(Frame::reset(3, 8)) {}
}
