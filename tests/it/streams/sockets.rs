//! Streamed messages over real sockets, and in real threads.

use std::time::Instant;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tower_websocket::{
    Compression, Config, Event, Message, MessageKind, WebSocketLayer,
    protocol::{Connection, DeflateParams, Role},
};

use super::{relay, rest, streaming};
use crate::{
    session::support::{binary, client_frame},
    support::{
        handler,
        http::{Ask, Server},
        on_both, within,
    },
};

#[tokio::test]
async fn a_message_is_relayed_over_hyper() {
    on_both(async |http| {
        let config = streaming().fragment_size(100).max_read_ahead(1000);
        let service = WebSocketLayer::new(handler(relay))
            .config(config)
            .endpoint();
        let server = Server::start(service).await;
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        let payload: Vec<u8> = (0..20_000_u32).map(|number| number as u8).collect();
        let (a, b) = payload.split_at(7000);
        let fragments = [client_frame(0x02, a), client_frame(0x80, b)];
        for message in [binary(&payload), fragments.concat()] {
            peer.write(&message).await;
            let mut received = vec![];
            while received.len() < payload.len() {
                let (opcode, fragment) = peer.frame().await.unwrap();
                assert_eq!(opcode, if received.is_empty() { 2 } else { 0 });
                received.extend(fragment);
            }
            assert!(received == payload);
            // The end may have come with the last fragment, or in an empty one.
            peer.send(0x9, b"p").await;
            loop {
                match peer.frame().await.unwrap() {
                    (0xa, payload) => break assert_eq!(payload, "p"),
                    other => assert_eq!(other, (0x0, Bytes::new())),
                }
            }
        }
        peer.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_compressed_message_is_relayed_over_hyper() {
    for settings in [Compression::shared(), Compression::dedicated()] {
        let config = streaming()
            .fragment_size(100)
            .max_read_ahead(1000)
            .compression(settings);
        on_both(async |http| {
            let service = WebSocketLayer::new(handler(relay)).config(config.clone());
            let server = Server::start(service.endpoint()).await;
            let ask = Ask::handshake(http, "/");
            let ask = ask.header("sec-websocket-extensions", "permessage-deflate");
            let answer = ask.send(&server).await;
            let agreed = answer.header("sec-websocket-extensions").unwrap();
            let alone = agreed.contains("no_context_takeover");
            let params = DeflateParams {
                server_no_context_takeover: alone,
                client_no_context_takeover: alone,
                ..DeflateParams::default()
            };
            let mut client =
                Connection::new(Role::Client, config.clone(), Instant::now()).deflate(params);
            let mut peer = answer.opened(http);
            for number in 0..4 {
                let text = format!("line {number}, κόσμε; ").repeat(5000 + number);
                client.send(&text[..]).unwrap();
                let queue = client.poll_transmit().unwrap();
                let frames = queue.copy_to_bytes(queue.len());
                peer.write(&frames).await;
                let mut first = None;
                let event = loop {
                    let (byte, payload) = peer.whole_frame().await.unwrap();
                    // Text and RSV1 on the first fragment, neither on those behind it.
                    let expected = if first.replace(byte).is_none() {
                        0x41
                    } else {
                        0
                    };
                    assert_eq!(byte & 0x7f, expected);
                    client.receive(&[byte, payload.len() as u8], Instant::now());
                    client.receive(&payload, Instant::now());
                    if let Some(event) = client.poll_event() {
                        break event;
                    }
                };
                assert!(event == Event::Message(text.into()));
            }
            peer.close().await;
        })
        .await;
    }
}

/// Has many tasks send streamed and plain messages at once, and sees that each arrives whole.
async fn crowd(config: Config) {
    let (client, mut server) = tower_websocket::testing::pair(config);
    let payload = |task: u8, number: u8| {
        let line = format!("task {task}, message {number}, ");
        line.repeat(1 + usize::from(number) * 37).into_bytes()
    };
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..6_u8 {
        let sender = client.sender();
        tasks.spawn(async move {
            for number in 0..40 {
                let payload = payload(task, number);
                match (task + number) % 3 {
                    0 => sender.send(Message::binary(payload)).await.unwrap(),
                    1 => {
                        let mut writer = sender.send_writer(MessageKind::Binary).await.unwrap();
                        for piece in payload.chunks(999) {
                            writer.write_all(piece).await.unwrap();
                            tokio::task::yield_now().await;
                        }
                        writer.finish().await.unwrap();
                    }
                    _ => {
                        // One that gives up, and one that does not compress.
                        let mut writer = sender.send_writer(MessageKind::Text).await.unwrap();
                        writer.write_all(b"never sent").await.unwrap();
                        drop(writer);
                        let writer = sender.send_writer(MessageKind::Binary).await.unwrap();
                        let mut writer = writer.uncompressed();
                        writer.send(payload).await.unwrap();
                        writer.finish().await.unwrap();
                    }
                }
                if number % 7 == 0 {
                    sender.flush().await.unwrap();
                }
            }
        });
    }
    let mut next = [0; 6];
    for count in 0..6 * 40 {
        let received = if count % 2 == 0 {
            server.recv().await.unwrap().unwrap().as_bytes().to_vec()
        } else {
            let mut reader = server.recv_reader().await.unwrap().unwrap();
            rest(&mut reader).await
        };
        // Each task's messages come in order.
        let task = received[5] - b'0';
        assert!(received == payload(task, next[usize::from(task)]));
        next[usize::from(task)] += 1;
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_and_senders_in_many_threads_take_turns() {
    let config = streaming()
        .fragment_size(700)
        .max_send_queue(5000)
        .max_read_ahead(2000);
    within(crowd(config)).await;
}

#[cfg(feature = "deflate")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_and_senders_in_many_threads_share_a_context() {
    use tower_websocket::Compression;
    for compression in [Compression::shared(), Compression::dedicated()] {
        for max_send_queue in [5000, 1 << 20] {
            let config = streaming()
                .compression(compression.clone())
                .fragment_size(700)
                .max_send_queue(max_send_queue)
                .max_read_ahead(2000);
            within(crowd(config)).await;
        }
    }
}
