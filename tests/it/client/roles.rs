//! The client's side of an open connection.

use std::{collections::HashSet, time::Duration};

use tokio::{
    io::AsyncReadExt,
    time::{Instant, timeout},
};
use tower_websocket::{CloseCode, Config, Error, Message, ProtocolError, client::Client};

use super::support::{Http1, opened, tasks};
use crate::session::support::{idle, within};

fn client(config: Config) -> Client {
    Client::new().config(config)
}

/// Reads a masked frame: its first byte, its key, its payload.
async fn masked(server: &mut Http1) -> (u8, [u8; 4], Vec<u8>) {
    let stream = &mut server.stream;
    let first = within(stream.read_u8()).await.unwrap();
    let second = stream.read_u8().await.unwrap();
    assert_eq!(second & 0x80, 0x80, "a client masks");
    let len = match second & 0x7f {
        126 => usize::from(stream.read_u16().await.unwrap()),
        127 => usize::try_from(stream.read_u64().await.unwrap()).unwrap(),
        len => usize::from(len),
    };
    let mut key = [0; 4];
    stream.read_exact(&mut key).await.unwrap();
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).await.unwrap();
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    (first, key, payload)
}

/// RFC 6455 §5.3.
#[tokio::test(start_paused = true)]
async fn every_frame_is_masked_with_a_key_of_its_own() {
    let config = Config::default().fragment_size(1000);
    let (socket, mut server) = opened(client(config), "").await;
    let sizes = [0, 1, 125, 126, 4095, 5000, 70_000];
    let sending = async {
        for size in sizes {
            socket.send("x".repeat(size)).await.unwrap();
        }
        socket.close(CloseCode::NORMAL);
        socket
    };
    let reading = async {
        let (mut keys, mut frames) = (HashSet::new(), 0);
        loop {
            let (first, key, payload) = masked(&mut server).await;
            frames += 1;
            keys.insert(key);
            if first == 0x88 {
                return (keys.len(), frames);
            }
            assert!(payload.iter().all(|byte| *byte == b'x'));
        }
    };
    let (_socket, (keys, frames)) = tokio::join!(sending, reading);
    assert!(frames > 80, "{frames}");
    assert_eq!(keys, frames);
}

/// RFC 6455 §5.1.
#[tokio::test(start_paused = true)]
async fn masked_frame_is_a_violation() {
    let (mut socket, mut server) = opened(Client::new(), "").await;
    server.write(b"\x81\x82\x01\x02\x03\x04hi").await;
    let error = within(socket.recv()).await.unwrap_err();
    assert!(
        matches!(error, Error::Protocol(ProtocolError::MaskedFrame)),
        "{error:?}"
    );
    let (first, _, payload) = masked(&mut server).await;
    assert_eq!((first, &payload[..2]), (0x88, &1002_u16.to_be_bytes()[..]));
}

#[tokio::test(start_paused = true)]
async fn limits_hold_for_a_client() {
    let config = Config::default().max_message_size(10);
    for (bytes, code) in [
        (b"\x81\x0b" as &[u8], 1009_u16),
        (b"\x01\x0aaaaaaaaaaa\x80\x01", 1009),
        (b"\x81\x02\xff\xff", 1007),
        (b"\xc1\x02hi", 1002),
        (b"\x89\x7e\x00\x7e", 1002),
    ] {
        let (mut socket, mut server) = opened(client(config.clone()), "").await;
        server.write(bytes).await;
        within(socket.recv()).await.unwrap_err();
        let (_, _, payload) = masked(&mut server).await;
        assert_eq!(payload[..2], code.to_be_bytes(), "{bytes:?}");
    }
    let (mut socket, mut server) = opened(client(config), "").await;
    server.write(b"\x82\x0aaaaaaaaaaa").await;
    let message = within(socket.recv()).await.unwrap();
    assert_eq!(message, Some(Message::from(vec![b'a'; 10])));
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered_though_nobody_receives() {
    let (_socket, mut server) = opened(Client::new(), "").await;
    server.write(b"\x89\x02hi").await;
    let (first, _, payload) = masked(&mut server).await;
    assert_eq!((first, payload.as_slice()), (0x8a, &b"hi"[..]));
}

#[tokio::test(start_paused = true)]
async fn client_pings_a_server_that_is_silent() {
    let (mut socket, mut server) = opened(Client::new(), "").await;
    let start = Instant::now();
    let (first, ..) = masked(&mut server).await;
    assert_eq!(first, 0x89);
    assert!(start.elapsed() >= Duration::from_secs(18));
    let error = within(socket.recv()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout(_)), "{error:?}");
}

/// RFC 6455 §7.1.1: the server closes TCP first. One that does not is waited for, and no longer
/// than `linger`.
#[tokio::test(start_paused = true)]
async fn client_waits_for_the_server_to_end_the_connection() {
    for (linger, close) in [(1, true), (1, false), (7, false)] {
        let config = Config::default().linger(Duration::from_secs(linger));
        let (socket, mut server) = opened(client(config), "").await;
        if close {
            // The server's Close, which is answered.
            server.write(b"\x88\x02\x03\xe8").await;
            assert_eq!(masked(&mut server).await.0, 0x88);
        } else {
            socket.close(CloseCode::NORMAL);
            assert_eq!(masked(&mut server).await.0, 0x88);
            server.write(b"\x88\x02\x03\xe8").await;
        }
        let start = Instant::now();
        assert!(server.rest().await.is_empty());
        assert_eq!(start.elapsed().as_secs(), linger);
        within(socket.closed()).await;
    }
    let (socket, mut server) = opened(Client::new(), "").await;
    let start = Instant::now();
    server.write(b"\x88\x00").await;
    assert_eq!(masked(&mut server).await.0, 0x88);
    drop(server);
    within(socket.closed()).await;
    assert!(start.elapsed() < Duration::from_millis(100), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn server_that_does_not_answer_a_close_is_left_after_the_close_timeout() {
    let (socket, mut server) = opened(Client::new(), "").await;
    socket.close(CloseCode::NORMAL);
    assert_eq!(masked(&mut server).await.0, 0x88);
    let early = timeout(Duration::from_millis(4900), server.stream.read_u8()).await;
    early.unwrap_err();
    assert!(server.rest().await.is_empty());
    within(socket.closed()).await;
    idle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn socket_that_is_dropped_closes() {
    let (socket, mut server) = opened(Client::new(), "").await;
    drop(socket);
    let (first, _, payload) = masked(&mut server).await;
    assert_eq!(
        (first, payload.as_slice()),
        (0x88, &1000_u16.to_be_bytes()[..])
    );
    drop(server);
    idle().await;
    assert_eq!(tasks(), 0);
}
