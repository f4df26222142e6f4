//! What servers may answer over HTTP/2, and what they must not (RFC 8441 §5, RFC 9113 §8).

use tokio::io::duplex;
use tower_websocket::{
    WebSocket,
    client::{Client, ConnectError, HttpVersion},
};

use super::support::{
    self, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, Http2, NO_CONTENT, OK,
    PUSH_PROMISE, tasks,
};
use crate::session::support::{PIPE, idle, within};

/// Answers a handshake with these frames.
async fn answered(frames: &[Frame]) -> (Result<WebSocket, ConnectError>, Http2) {
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    let answering = async {
        assert_eq!(server.next().await.unwrap().kind, HEADERS);
        for frame in frames {
            server.write(frame).await;
        }
    };
    let (socket, ()) = within(async { tokio::join!(connection.connect("/"), answering) }).await;
    (socket, server)
}

#[tokio::test(start_paused = true)]
async fn every_successful_status_opens() {
    for status in [OK, NO_CONTENT] {
        let text = Frame::new(DATA, 0, 1, *b"\x81\x02hi");
        let (socket, _server) = answered(&[Frame::headers(1, status), text]).await;
        let mut socket = socket.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hi".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn answer_that_ends_the_stream_is_a_socket_that_is_gone() {
    let ended = Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, OK);
    let (socket, _server) = answered(&[ended]).await;
    let mut socket = socket.unwrap();
    assert!(within(socket.recv()).await.unwrap_err().is_disconnect());
}

/// RFC 9113 §8.6: there is no 101, and it opens nothing.
#[tokio::test(start_paused = true)]
async fn switching_protocols_opens_nothing() {
    let (error, _server) = answered(&[Frame::headers(1, b"\x08\x03101")]).await;
    let error = error.unwrap_err();
    assert!(
        matches!(error, ConnectError::Timeout(_) | ConnectError::Io(_)),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn informational_answers_before_the_last_are_passed_over() {
    let hints = Frame::headers(1, b"\x08\x03103");
    let (socket, _server) = answered(&[hints, Frame::headers(1, OK)]).await;
    socket.unwrap();
}

#[tokio::test(start_paused = true)]
async fn refusal_without_body_is_a_refusal() {
    let ended = Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, support::NOT_FOUND);
    let (error, _server) = answered(&[ended]).await;
    assert_eq!(
        error.unwrap_err().status(),
        Some(http::StatusCode::NOT_FOUND)
    );
}

#[tokio::test(start_paused = true)]
async fn trailers_of_a_refusal_end_it() {
    let data = Frame::new(DATA, 0, 1, *b"no");
    let trailers = Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, *b"\x00\x01x\x01y");
    let (error, _server) = answered(&[Frame::headers(1, support::NOT_FOUND), data, trailers]).await;
    assert_eq!(error.unwrap_err().response().unwrap().body(), "no");
}

#[tokio::test(start_paused = true)]
async fn trailers_end_an_open_stream() {
    let (socket, mut server) = answered(&[Frame::headers(1, OK)]).await;
    let mut socket = socket.unwrap();
    let trailers = Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, *b"\x00\x01x\x01y");
    server.write(&Frame::new(DATA, 0, 1, *b"\x81\x02hi")).await;
    server.write(&trailers).await;
    assert_eq!(within(socket.recv()).await.unwrap(), Some("hi".into()));
    assert!(within(socket.recv()).await.unwrap_err().is_disconnect());
}

/// Every code of RFC 9113 §7, and one that is none.
#[tokio::test(start_paused = true)]
async fn reset_before_the_answer_is_an_error() {
    for code in (0..=13).chain([99]) {
        let (error, _server) = answered(&[Frame::reset(1, code)]).await;
        let error = error.unwrap_err();
        assert!(matches!(error, ConnectError::Io(_)), "{code}: {error:?}");
    }
}

/// NO_ERROR and CANCEL are an end of the stream, without a Close frame. All are disconnections.
#[tokio::test(start_paused = true)]
async fn reset_of_an_open_stream_is_a_disconnection() {
    for code in (0..=13).chain([99]) {
        let text = Frame::new(DATA, 0, 1, *b"\x81\x02hi");
        let (socket, mut server) = answered(&[Frame::headers(1, OK), text]).await;
        let mut socket = socket.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hi".into()));
        server.write(&Frame::reset(1, code)).await;
        let error = within(socket.recv()).await.unwrap_err();
        let tower_websocket::Error::Io(error) = error else {
            panic!("{code}: {error:?}");
        };
        let is_end = error.kind() == std::io::ErrorKind::UnexpectedEof;
        assert_eq!(is_end, [0, 8].contains(&code), "{code}: {error:?}");
        within(socket.closed()).await;
    }
}

/// It was switched off (RFC 9113 §6.6).
#[tokio::test(start_paused = true)]
async fn push_promise_fails_the_connection() {
    let promise = [&2_u32.to_be_bytes()[..], &[0x82, 0x84, 0x86]].concat();
    let frames = [
        Frame::new(PUSH_PROMISE, END_HEADERS, 1, promise),
        Frame::headers(1, OK),
    ];
    let (error, mut server) = answered(&frames).await;
    assert!(matches!(error.unwrap_err(), ConnectError::Io(_)));
    let frame = within(server.next()).await.unwrap();
    assert_eq!(
        (frame.kind, frame.payload[7]),
        (GOAWAY, 1),
        "PROTOCOL_ERROR"
    );
    idle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http2_is_an_error() {
    for garbage in [
        b"" as &[u8],
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"\0\0\0\x01\x05\0\0\0\x01\0\0\0",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let (ours, mut theirs) = duplex(PIPE);
        let server = async {
            tokio::io::AsyncWriteExt::write_all(&mut theirs, garbage)
                .await
                .unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut theirs)
                .await
                .unwrap();
        };
        let client = Client::new().http_version(HttpVersion::Http2);
        let (error, ()) = tokio::join!(client.request_over(ours, "ws://localhost/"), server);
        let error = error.map(drop).unwrap_err();
        assert!(
            matches!(error, ConnectError::Io(_) | ConnectError::NoExtendedConnect),
            "{garbage:?}: {error:?}"
        );
        idle().await;
        assert_eq!(tasks(), 0, "{garbage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_that_is_too_large_is_an_error() {
    let mut block = OK.to_vec();
    // A literal field whose value has 16,000 bytes, and that five times.
    for n in 0..5 {
        block.extend([0, 2, b'x', b'a' + n, 0x7f, 0x81, 0x7c]);
        block.extend(vec![b'x'; 16_000]);
    }
    let (connection, mut server) = Http2::pair(&Client::new(), &[]).await;
    let answering = async {
        assert_eq!(server.next().await.unwrap().kind, HEADERS);
        let mut chunks = block.chunks(16_000).peekable();
        let mut kind = HEADERS;
        while let Some(chunk) = chunks.next() {
            let flags = if chunks.peek().is_none() {
                END_HEADERS
            } else {
                0
            };
            server.write(&Frame::new(kind, flags, 1, chunk)).await;
            // CONTINUATION
            kind = 9;
        }
        while server
            .next()
            .await
            .is_some_and(|frame| frame.kind != GOAWAY)
        {}
    };
    let opening = async {
        let error = within(connection.connect("/")).await.unwrap_err();
        drop(connection);
        error
    };
    let (error, ()) = tokio::join!(opening, answering);
    assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
}
