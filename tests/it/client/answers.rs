//! What servers may answer over HTTP/1.1, and what they must not (RFC 6455 §4.1).

use http::StatusCode;
use tokio::io::duplex;
use tower_websocket::{
    Config, WebSocket,
    client::{Client, ConnectError},
    handshake::client::InvalidResponse,
};

use super::support::{Http1, opened, tasks};
use crate::session::support::{PIPE, idle, within};

/// Answers a handshake with what is made of it, and ends.
async fn answered(
    client: &Client,
    answer: impl FnOnce(&Http1) -> Vec<u8>,
) -> Result<WebSocket, ConnectError> {
    let (ours, theirs) = duplex(PIPE * 4);
    let server = async {
        let mut server = Http1::asked(theirs).await;
        let answer = answer(&server);
        server.write(answer).await;
    };
    let opening = client.request_over(ours, "ws://localhost/");
    let (response, ()) = within(async { tokio::join!(opening, server) }).await;
    idle().await;
    response.map(http::Response::into_body)
}

async fn replaced(from: &str, to: &str) -> Result<WebSocket, ConnectError> {
    let replace = |server: &Http1| server.accepting("").replace(from, to).into_bytes();
    answered(&Client::new(), replace).await
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_right_upgrade_is_refused() {
    for (from, to, expected) in [
        ("Upgrade: websocket\r\n", "", InvalidResponse::Upgrade),
        (
            "Upgrade: websocket",
            "Upgrade: h2c",
            InvalidResponse::Upgrade,
        ),
        ("Connection: Upgrade\r\n", "", InvalidResponse::Connection),
        (
            "Connection: Upgrade",
            "Connection: close",
            InvalidResponse::Connection,
        ),
        ("Accept: ", "Accept: x", InvalidResponse::Accept),
        ("Sec-WebSocket-Accept", "X-Accept", InvalidResponse::Accept),
        ("HTTP/1.1 101", "HTTP/1.0 101", InvalidResponse::Version),
    ] {
        let error = replaced(from, to).await.unwrap_err();
        let ConnectError::Response(found) = error else {
            panic!("{from} for {to}: {error:?}");
        };
        assert_eq!(found, expected, "{from} for {to}");
        assert_eq!(tasks(), 0, "{from} for {to}");
    }
}

#[tokio::test(start_paused = true)]
async fn accept_that_is_there_twice_is_refused() {
    let twice = |server: &Http1| {
        let answer = server.accepting("");
        let line = answer.lines().find(|line| line.contains("Accept")).unwrap();
        server.accepting(&format!("{line}\r\n")).into_bytes()
    };
    let error = answered(&Client::new(), twice).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Response(InvalidResponse::Accept)),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_not_offered_is_refused() {
    for line in [
        "Sec-WebSocket-Protocol: chat",
        "Sec-WebSocket-Protocol:",
        "Sec-WebSocket-Extensions: permessage-deflate",
        "Sec-WebSocket-Extensions: x-unknown",
        "Sec-WebSocket-Extensions: ;",
        "Sec-WebSocket-Extensions: a; b=\"",
    ] {
        let more = |server: &Http1| server.accepting(&format!("{line}\r\n")).into_bytes();
        let error = answered(&Client::new(), more).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Response(_)),
            "{line}: {error:?}"
        );
        assert_eq!(tasks(), 0, "{line}");
    }
}

/// RFC 6455 §4.1: anything but 101 is for HTTP to handle.
#[tokio::test(start_paused = true)]
async fn every_other_status_is_a_refusal_with_its_body() {
    for (status, body) in [
        (200, "a page"),
        (204, ""),
        (301, "elsewhere"),
        (302, "elsewhere"),
        (307, "elsewhere"),
        (401, "who are you?"),
        (404, "no"),
        (426, "no"),
        (503, ""),
    ] {
        let answer = |_: &Http1| {
            let length = match status {
                204 => String::new(),
                _ => format!("Content-Length: {}\r\n", body.len()),
            };
            format!(
                "HTTP/1.1 {status} X\r\nLocation: ws://localhost/\r\n\
                 WWW-Authenticate: Basic\r\n{length}\r\n{body}"
            )
            .into_bytes()
        };
        let error = answered(&Client::new(), answer).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::from_u16(status).ok());
        let response = error.response().unwrap();
        assert_eq!(response.body(), body);
        assert_eq!(response.headers()["location"], "ws://localhost/");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_64_kib_of_a_refusal_are_kept() {
    for framing in ["Content-Length: 200000\r\n\r\n", "\r\n"] {
        let answer = |_: &Http1| {
            let mut answer = format!("HTTP/1.1 403 No\r\n{framing}").into_bytes();
            answer.resize(answer.len() + 200_000, b'x');
            answer
        };
        let error = answered(&Client::new(), answer).await.unwrap_err();
        assert_eq!(error.response().unwrap().body().len(), 64 << 10);
    }
}

#[tokio::test(start_paused = true)]
async fn informational_answers_before_the_last_are_passed_over() {
    let first = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let answer = |server: &Http1| format!("{first}{}", server.accepting("")).into_bytes();
    answered(&Client::new(), answer).await.unwrap();
}

/// RFC 9110 §8.6, §15.2: they are not allowed there, and say nothing about what follows.
#[tokio::test(start_paused = true)]
async fn framing_of_a_body_has_no_meaning_for_an_upgrade() {
    for line in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let (mut socket, mut server) = opened(Client::new(), line).await;
        server.write(b"\x81\x02hi").await;
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hi".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_come_with_the_answer_are_delivered() {
    for cut in [0, 1, 3, 4, 7] {
        let (ours, theirs) = duplex(PIPE);
        let server = async {
            let mut server = Http1::asked(theirs).await;
            let (with, after) = b"\x81\x05Hello\x81\x00".split_at(cut);
            let answer = [server.accepting("").as_bytes(), with].concat();
            server.write(answer).await;
            idle().await;
            server.write(after).await;
            server
        };
        let client = Client::new();
        let (response, _server) =
            tokio::join!(client.request_over(ours, "ws://localhost/"), server);
        let mut socket = response.unwrap().into_body();
        assert_eq!(within(socket.recv()).await.unwrap(), Some("Hello".into()));
        assert_eq!(within(socket.recv()).await.unwrap(), Some("".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn heads_that_are_too_large_are_refused() {
    let long = format!("X-Long: {}\r\n", "x".repeat(128 << 10));
    let many = "X-Many: 1\r\n".repeat(1000);
    for more in [long, many] {
        let answer = |server: &Http1| server.accepting(&more).into_bytes();
        let error = answered(&Client::new(), answer).await.unwrap_err();
        assert!(matches!(error, ConnectError::Io(_)), "{error:?}");
    }
    let large = format!("X-Long: {}\r\n", "x".repeat(32 << 10));
    let answer = |server: &Http1| server.accepting(&large).into_bytes();
    answered(&Client::new(), answer).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http_is_an_error() {
    for answer in [
        b"" as &[u8],
        b"\r\n",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"HTTP/1.1 101",
        b"HTTP/1.1 1O1 Switching Protocols\r\n\r\n",
        b"HTTP/2.0 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n obs-fold\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nX: a\0b\r\n\r\n",
        b"\x81\x05Hello",
        b"\0\0\0\x04\0\0\0\0\0",
    ] {
        let error = answered(&Client::new(), |_| answer.to_vec())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Io(_)),
            "{answer:?}: {error:?}"
        );
        assert_eq!(tasks(), 0, "{answer:?}");
    }
    let bare = |_: &Http1| b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
    let error = answered(&Client::new(), bare).await.unwrap_err();
    assert!(matches!(error, ConnectError::Response(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn answers_that_end_too_early_are_errors() {
    let client = Client::new().config(Config::default().subprotocols(["chat"]));
    let protocol = "Sec-WebSocket-Protocol: chat\r\n";
    let mut len = 0;
    answered(&client, |server| {
        len = server.accepting(protocol).len();
        server.accepting(protocol).into_bytes()
    })
    .await
    .unwrap();
    for cut in 0..len {
        let part = |server: &Http1| server.accepting(protocol).as_bytes()[..cut].to_vec();
        let error = answered(&client, part).await.unwrap_err();
        assert!(matches!(error, ConnectError::Io(_)), "{cut}: {error:?}");
        assert_eq!(tasks(), 0, "{cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_in_single_bytes_are_understood() {
    let (ours, theirs) = duplex(1);
    let server = async {
        let mut server = Http1::asked(theirs).await;
        let answer = server.accepting("");
        server.write(answer + "\u{1}").await;
    };
    let client = Client::new();
    let (response, ()) = tokio::join!(client.request_over(ours, "ws://localhost/"), server);
    response.unwrap();
}
