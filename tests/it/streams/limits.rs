//! Limits and deadlines of messages that are received and sent piece by piece.

use std::{pin::pin, time::Duration};

use tokio::{io::AsyncWriteExt, time::sleep};
use tower_websocket::{Config, Error, MessageKind, ProtocolError, session::EndedBy};

use super::{begin, expect_next, in_bytes, next, rest, streaming};
use crate::session::support::{
    SHAPES, binary, client_frame, client_header, hold, idle, once, pong, text, within,
};

/// A message of `size` bytes in every shape: as pieces that arrive apart.
fn shapes_of(size: usize) -> Vec<Vec<Vec<u8>>> {
    let payload = vec![7; size];
    let whole = binary(&payload);
    let (a, b) = payload.split_at(size / 2);
    vec![
        vec![whole.clone()],
        whole.chunks(100).map(<[u8]>::to_vec).collect(),
        vec![[client_frame(0x02, a), client_frame(0x80, b)].concat()],
        vec![
            client_frame(0x02, a),
            client_frame(0x00, b),
            client_frame(0x80, ""),
        ],
        vec![in_bytes(0x82, &payload)],
        in_bytes(0x82, &payload)
            .chunks(50)
            .map(<[u8]>::to_vec)
            .collect(),
    ]
}

#[tokio::test(start_paused = true)]
async fn recv_takes_a_message_of_the_limit_on_a_streaming_connection() {
    for shape in SHAPES {
        for pieces in shapes_of(1000) {
            let config = streaming().max_message_size(1000);
            let (mut peer, mut socket, _reports) = hold(shape, config).await;
            for piece in pieces {
                peer.send(piece).await;
                idle().await;
            }
            let message = within(socket.recv()).await.unwrap().unwrap();
            assert_eq!(message.as_bytes(), [7; 1000]);
            expect_next(&mut peer, &mut socket).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn recv_refuses_a_message_one_past_the_limit_on_a_streaming_connection() {
    for shape in SHAPES {
        for (number, pieces) in shapes_of(1001).into_iter().enumerate() {
            for early in [false, true] {
                let config = streaming().max_message_size(1000);
                let (mut peer, mut socket, reports) = hold(shape, config).await;
                let receiving = tokio::spawn(async move {
                    if !early {
                        // All of it and more has come by then.
                        sleep(Duration::from_secs(1)).await;
                    }
                    let first = socket.recv().await;
                    let others = [socket.recv().await, socket.recv().await];
                    (first, others, socket)
                });
                for piece in pieces.iter().chain([&text("never received")]) {
                    peer.send(piece).await;
                    idle().await;
                }
                assert_eq!(peer.frame().await.code(), Some(1009), "{number} {early}");
                peer.finish().await;
                let (first, others, socket) = within(receiving).await.unwrap();
                let expected = ProtocolError::MessageTooBig {
                    size: 1001,
                    limit: 1000,
                };
                assert!(
                    matches!(&first, Err(Error::Protocol(error)) if *error == expected),
                    "{first:?}"
                );
                assert!(matches!(others, [Ok(None), Ok(None)]), "{others:?}");
                drop((socket, peer));
                let report = reports.only().await;
                assert_eq!(
                    (report.ended_by, report.close_code),
                    (EndedBy::Violation, 1009)
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_takes_a_message_past_the_limit_of_those_received_whole() {
    for shape in SHAPES {
        for pieces in shapes_of(1001) {
            let config = streaming().max_message_size(10);
            let (mut peer, mut socket, _reports) = hold(shape, config).await;
            for piece in pieces {
                peer.send(piece).await;
            }
            assert_eq!(rest(&mut next(&mut socket).await).await, [7; 1001]);
            expect_next(&mut peer, &mut socket).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_max_stream_size_is_read_and_one_past_it_is_1009() {
    for shape in SHAPES {
        for size in [1000, 1001] {
            for pieces in shapes_of(size) {
                let config = streaming().max_stream_size(1000);
                let (mut peer, mut socket, _reports) = hold(shape, config).await;
                let sending = async {
                    for piece in pieces {
                        peer.send(piece).await;
                        idle().await;
                    }
                };
                let reading = async {
                    let mut len = 0;
                    let mut reader = within(socket.recv_reader()).await?.expect("a message");
                    while let Some(chunk) = within(reader.chunk()).await? {
                        len += chunk.len();
                    }
                    Ok::<_, Error>(len)
                };
                let (read, ()) = tokio::join!(reading, sending);
                if size == 1000 {
                    assert_eq!(read.unwrap(), 1000);
                    expect_next(&mut peer, &mut socket).await;
                    continue;
                }
                let error = read.expect_err("it is too large");
                assert!(matches!(
                    error,
                    Error::Protocol(ProtocolError::MessageTooBig {
                        size: 1001,
                        limit: 1000
                    })
                ));
                assert_eq!(peer.frame().await.code(), Some(1009));
                assert_eq!(within(socket.recv()).await.unwrap(), None);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fragment_past_max_fragments_is_1009_where_that_is_set() {
    for shape in SHAPES {
        // By default there is no limit for what is streamed.
        for (config, refused) in [(streaming(), false), (streaming().max_fragments(100), true)] {
            let (mut peer, mut socket, _reports) = hold(shape, config).await;
            peer.send(client_frame(0x02, "a")).await;
            let fragments = client_frame(0x00, "").repeat(100);
            let mut reader = next(&mut socket).await;
            for _ in 0..if refused { 1 } else { 300 } {
                peer.send(&fragments).await;
            }
            if refused {
                assert_eq!(peer.frame().await.code(), Some(1009));
            } else {
                peer.send(client_frame(0x80, "b")).await;
                assert_eq!(rest(&mut reader).await, b"ab");
            }
        }
    }
}

fn idle_after_ten_seconds() -> Config {
    streaming()
        .idle_timeout(Duration::from_secs(10))
        .ping_interval(None)
        .frame_timeout(None)
}

#[tokio::test(start_paused = true)]
async fn idle_timeout_does_not_cut_a_message_that_arrives() {
    for shape in SHAPES {
        for frames in [false, true] {
            let (mut peer, mut socket, mut reports) = hold(shape, idle_after_ten_seconds()).await;
            if frames {
                peer.send(client_frame(0x02, "a")).await;
            } else {
                peer.send(client_header(0x82, 100)).await;
                peer.send("a").await;
            }
            let mut reader = next(&mut socket).await;
            for _ in 1..100 {
                sleep(Duration::from_secs(9)).await;
                if frames {
                    peer.send(client_frame(0x00, "a")).await;
                } else {
                    peer.send("a").await;
                }
            }
            assert!(reports.none_yet());
            if frames {
                peer.send(client_frame(0x80, "")).await;
            }
            assert_eq!(rest(&mut reader).await.len(), 100);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn idle_timeout_does_not_cut_a_message_that_is_written() {
    for shape in SHAPES {
        let (mut peer, socket, mut reports) = hold(shape, idle_after_ten_seconds()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        for _ in 0..100 {
            sleep(Duration::from_secs(9)).await;
            writer.write_all(b"a").await.unwrap();
            writer.flush().await.unwrap();
            peer.frame().await;
        }
        assert!(reports.none_yet());
        writer.finish().await.unwrap();
        peer.frame().await;
        // One that pauses is cut like a connection that does.
        let _writer = begin(&socket, MessageKind::Text).await;
        assert_eq!(peer.frame().await.code(), Some(1001));
    }
}

#[tokio::test(start_paused = true)]
async fn frame_timeout_is_not_held_against_a_peer_whose_reader_is_slow() {
    for shape in SHAPES {
        let config = streaming()
            .frame_timeout(Duration::from_secs(10))
            .max_read_ahead(1000);
        let (mut peer, mut socket, mut reports) = hold(shape, config).await;
        let sending = tokio::spawn(async move {
            peer.send(client_header(0x82, 1_000_000)).await;
            for _ in 0..1000 {
                peer.send([0; 1000]).await;
            }
            peer
        });
        let mut reader = next(&mut socket).await;
        for _ in 0..5 {
            sleep(Duration::from_secs(100)).await;
            assert!(within(reader.chunk()).await.unwrap().is_some());
        }
        assert!(reports.none_yet());
        rest(&mut reader).await;
        within(sending).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn frame_timeout_is_held_against_a_peer_that_stops_inside_a_frame() {
    for shape in SHAPES {
        let config = streaming().frame_timeout(Duration::from_secs(10));
        let (mut peer, mut socket, _reports) = hold(shape, config).await;
        peer.send(&client_frame(0x82, b"some".repeat(1000))[..12])
            .await;
        let mut reader = next(&mut socket).await;
        assert_eq!(super::chunk(&mut reader).await, b"some");
        let error = within(reader.chunk()).await.expect_err("it takes too long");
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(peer.frame().await.code(), Some(1008));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_pings_inside_a_long_message_stays() {
    for shape in SHAPES {
        let (mut peer, mut socket, mut reports) = hold(shape, streaming()).await;
        peer.send(client_frame(0x02, "a")).await;
        let mut reader = next(&mut socket).await;
        assert_eq!(super::chunk(&mut reader).await, b"a");
        for _ in 0..50 {
            assert!(once(pin!(reader.chunk())).await.is_pending());
            assert_eq!(peer.frame().await.first, 0x89);
            peer.send(pong("")).await;
        }
        assert!(reports.none_yet());
    }
}
