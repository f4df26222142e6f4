//! Bytes that were read beyond the handshake.

use std::time::Duration;

use bytes::Bytes;
use http::Version;
use tokio::{io::AsyncWriteExt, time::Instant};
use tower_websocket::{Config, Error, Message, ProtocolError, WebSocket, protocol::Role};

use super::{pipe, silent};
use crate::session::support::{
    Frame, binary, client_frame, client_header, close, ping, text, within,
};

const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// What comes right behind a handshake: messages, one of them in two frames, a ping, and the end.
fn conversation() -> Vec<u8> {
    let frames = [
        text("one"),
        client_frame(0x01, "tw"),
        ping("?"),
        client_frame(0x80, "o"),
        binary([3; 200]),
        close(1000, "done"),
    ];
    frames.concat()
}

#[tokio::test]
async fn bytes_read_before_are_the_first_wherever_they_end() {
    let all = conversation();
    for version in VERSIONS {
        for cut in 0..=all.len() {
            let (ours, mut peer) = pipe();
            let session = WebSocket::over(ours, Role::Server).version(version);
            // In two pieces, which are put together.
            let (first, second) = all[..cut].split_at(cut / 2);
            let session = session
                .already_read(first.to_vec())
                .already_read(second.to_vec());
            let mut socket = session.spawn().unwrap();
            if cut < all.len() {
                peer.send(&all[cut..]).await;
            }
            for expected in [
                "one".into(),
                "two".into(),
                Message::binary([3; 200].to_vec()),
            ] {
                assert_eq!(
                    within(socket.recv()).await.unwrap(),
                    Some(expected),
                    "{cut}"
                );
            }
            assert_eq!(within(socket.recv()).await.unwrap(), None, "cut at {cut}");
            assert_eq!(peer.frame().await, Frame::pong("?"));
            assert_eq!(peer.frame().await.code(), Some(1000));
            drop(socket);
        }
    }
}

/// The end of the stream is behind them.
#[tokio::test]
async fn bytes_read_before_a_stream_ended_are_delivered() {
    let (ours, mut peer) = pipe();
    peer.finish().await;
    let session = WebSocket::over(ours, Role::Server).already_read(text("last"));
    let mut socket = session.spawn().unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), Some("last".into()));
    let error = within(socket.recv()).await.unwrap_err();
    assert!(error.is_disconnect(), "{error}");
}

#[tokio::test]
async fn message_too_large_among_them_is_1009() {
    for bytes in [
        // Only its header was read; or all of it.
        client_header(0x82, 101),
        binary([7; 101]),
        [text("fine"), binary([7; 1000])].concat(),
    ] {
        let (ours, mut peer) = pipe();
        let session = WebSocket::over(ours, Role::Server).already_read(bytes);
        let config = silent().max_message_size(100);
        let mut socket = session.config(config).spawn().unwrap();
        let mut received = within(socket.recv()).await;
        if let Ok(Some(message)) = &received {
            assert_eq!(message.as_text(), Some("fine"));
            received = within(socket.recv()).await;
        }
        let error = received.unwrap_err();
        assert!(
            matches!(error, Error::Protocol(ProtocolError::MessageTooBig { .. })),
            "{error:?}"
        );
        assert_eq!(peer.frame().await.code(), Some(1009));
    }
}

/// More than is ever read ahead: it waits, and the peer's ping behind it does.
#[tokio::test(start_paused = true)]
async fn more_of_them_than_is_read_ahead_wait_their_turn() {
    for version in VERSIONS {
        let (ours, mut peer) = pipe();
        let messages = 0..50_000_u32;
        let numbers = messages.clone().map(|number| text(&number.to_string()));
        let mut bytes = numbers.collect::<Vec<_>>().concat();
        bytes.extend(ping("behind"));
        let session = WebSocket::over(ours, Role::Server).already_read(bytes);
        let config = silent().max_read_ahead(1 << 10);
        let mut socket = session.version(version).config(config).spawn().unwrap();
        for number in messages {
            let message = within(socket.recv()).await.unwrap();
            assert_eq!(message, Some(number.to_string().into()));
        }
        assert_eq!(peer.frame().await, Frame::pong("behind"));
        peer.stream
            .write_all(&text("from the stream"))
            .await
            .unwrap();
        assert_eq!(
            within(socket.recv()).await.unwrap(),
            Some("from the stream".into())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn they_count_towards_the_rate_of_bytes() {
    let frame = binary([7; 94]);
    assert_eq!(frame.len(), 100);
    let rate = silent().byte_rate(1_000).byte_burst(1_000);
    // Beyond it they wait.
    let (ours, _peer) = pipe();
    let session = WebSocket::over(ours, Role::Server).already_read(frame.repeat(30));
    let mut socket = session.config(rate.clone()).spawn().unwrap();
    let start = Instant::now();
    for number in 1..=30_u32 {
        assert!(within(socket.recv()).await.unwrap().is_some());
        let due = Duration::from_millis(100) * number.saturating_sub(10);
        assert!(
            start.elapsed() >= due,
            "{number} after {:?}",
            start.elapsed()
        );
    }
    // Or they close the connection, behind what there was room for.
    let (ours, mut peer) = pipe();
    let session = WebSocket::over(ours, Role::Server).already_read(frame.repeat(30));
    let config: Config = rate.close_over_rate(true);
    let mut socket = session.config(config).spawn().unwrap();
    for _ in 0..10 {
        assert!(within(socket.recv()).await.unwrap().is_some());
    }
    let error = within(socket.recv()).await.unwrap_err();
    assert!(
        matches!(error, Error::Protocol(ProtocolError::ByteFlood { .. })),
        "{error:?}"
    );
    assert_eq!(peer.frame().await.code(), Some(1008));
}

/// They are not copied where they are the only ones, and nothing is kept of them once they are decoded.
#[tokio::test]
async fn static_bytes_will_do() {
    let bytes = Bytes::from_static(b"\x81\x02hi");
    let (ours, _peer) = pipe();
    let session = WebSocket::over(ours, Role::Client).already_read(bytes);
    let mut socket = session.spawn().unwrap();
    assert_eq!(within(socket.recv()).await.unwrap(), Some("hi".into()));
}
