//! Readers: what comes, as it arrives, and what a drop leaves behind.

use std::{io, pin::pin, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, duplex},
    time::sleep,
};
use tower_websocket::{Config, Error, Event, Message, MessageKind, WebSocket, session::EndedBy};

use super::{chunk, expect_next, in_bytes, next, rest, streaming};
use crate::session::support::{
    Frame, Peer, SHAPES, Wire, binary, client_frame, client_header, close, hold, hold_over, idle,
    lock, once, open, ping, pong, text, within,
};

#[tokio::test(start_paused = true)]
async fn a_message_is_read_as_it_arrives() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, streaming()).await;
        let message = binary("one two three");
        let (head, payload) = message.split_at(6);
        peer.send([head, &payload[..4]].concat()).await;
        let mut reader = next(&mut socket).await;
        assert_eq!(reader.kind(), MessageKind::Binary);
        assert_eq!(chunk(&mut reader).await, b"one ");
        peer.send(&payload[4..8]).await;
        assert_eq!(chunk(&mut reader).await, b"two ");
        assert!(once(pin!(reader.chunk())).await.is_pending());
        peer.send(&payload[8..]).await;
        assert_eq!(chunk(&mut reader).await, b"three");
        assert_eq!(within(reader.chunk()).await.unwrap(), None);
        assert_eq!(within(reader.chunk()).await.unwrap(), None);
        drop(reader);
        expect_next(&mut peer, &mut socket).await;
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_are_read_as_they_arrive() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, streaming()).await;
        peer.send(client_frame(0x01, "one ")).await;
        let mut reader = next(&mut socket).await;
        assert_eq!(reader.kind(), MessageKind::Text);
        assert_eq!(chunk(&mut reader).await, b"one ");
        peer.send(client_frame(0x00, "")).await;
        peer.send(client_frame(0x00, "two")).await;
        assert_eq!(chunk(&mut reader).await, b"two");
        // An empty last fragment is the end, and nothing else.
        peer.send(client_frame(0x80, "")).await;
        assert_eq!(within(reader.chunk()).await.unwrap(), None);
        drop(reader);
        expect_next(&mut peer, &mut socket).await;
    }
}

/// Messages of every kind, with control frames between and inside them.
fn conversation() -> Vec<u8> {
    [
        text("hello"),
        ping("a"),
        client_frame(0x01, "κό".as_bytes().split_at(3).0),
        pong(""),
        client_frame(0x00, "κό".as_bytes().split_at(3).1),
        client_frame(0x00, ""),
        ping("b"),
        client_frame(0x80, "σμε"),
        binary(""),
        client_frame(0x02, ""),
        client_frame(0x80, ""),
        in_bytes(0x82, b"bytes"),
        binary(vec![5; 300]),
        text("🦀"),
    ]
    .concat()
}

fn messages() -> Vec<(MessageKind, Vec<u8>)> {
    let text = |text: &str| (MessageKind::Text, text.into());
    let binary = |payload: &[u8]| (MessageKind::Binary, payload.into());
    vec![
        text("hello"),
        text("κόσμε"),
        binary(b""),
        binary(b""),
        binary(b"bytes"),
        binary(&[5; 300]),
        text("🦀"),
    ]
}

/// One way to read.
#[derive(Clone, Copy, Debug)]
enum Way {
    Chunks,
    Read(usize),
    Lines,
    Whole,
    WholeOrPieces,
}

const WAYS: [Way; 6] = [
    Way::Chunks,
    Way::Read(1),
    Way::Read(1000),
    Way::Lines,
    Way::Whole,
    Way::WholeOrPieces,
];

/// Receives all messages, up to the end.
async fn receive(socket: &mut WebSocket, way: Way) -> Vec<(MessageKind, Vec<u8>)> {
    let mut messages = vec![];
    loop {
        if matches!(way, Way::Whole) {
            let Some(message) = within(socket.recv()).await.unwrap() else {
                return messages;
            };
            messages.push(whole(message));
            continue;
        }
        if matches!(way, Way::WholeOrPieces) {
            match once(pin!(socket.recv())).await.map(Result::unwrap) {
                std::task::Poll::Ready(None) => return messages,
                std::task::Poll::Ready(Some(message)) => {
                    messages.push(whole(message));
                    continue;
                }
                std::task::Poll::Pending => {}
            }
        }
        let Some(mut reader) = within(socket.recv_reader()).await.unwrap() else {
            return messages;
        };
        let mut payload = vec![];
        match way {
            Way::Read(size) => loop {
                let mut buffer = vec![0; size];
                let len = within(reader.read(&mut buffer)).await.unwrap();
                payload.extend(&buffer[..len]);
                if len == 0 {
                    break;
                }
            },
            Way::Lines => while within(reader.read_until(b'l', &mut payload)).await.unwrap() > 0 {},
            _ => {
                while let Some(chunk) = within(reader.chunk()).await.unwrap() {
                    assert!(!chunk.is_empty());
                    payload.extend(chunk);
                }
            }
        }
        messages.push((reader.kind(), payload));
    }
}

fn whole(message: Message) -> (MessageKind, Vec<u8>) {
    let kind = if message.is_text() {
        MessageKind::Text
    } else {
        MessageKind::Binary
    };
    (kind, message.as_bytes().into())
}

#[tokio::test(start_paused = true)]
async fn any_cutting_of_the_input_gives_the_same_messages_in_every_way() {
    let bytes = [conversation(), close(1000, "")].concat();
    for shape in SHAPES {
        for way in WAYS {
            for streaming in [true, false] {
                for cut in (0..bytes.len()).step_by(if streaming { 1 } else { 13 }) {
                    let config = Config::default().streaming(streaming);
                    let (mut peer, mut socket, reports) = hold(shape, config).await;
                    let (first, second) = bytes.split_at(cut);
                    let second = second.to_vec();
                    peer.send(first).await;
                    let sending = async {
                        idle().await;
                        peer.send(second).await;
                        peer.finish().await;
                    };
                    let (received, ()) = tokio::join!(receive(&mut socket, way), sending);
                    assert_eq!(received, messages(), "{shape:?} {way:?} cut at {cut}");
                    assert_eq!(peer.frame().await, Frame::pong("a"));
                    assert_eq!(peer.frame().await, Frame::pong("b"));
                    drop((socket, peer));
                    assert_eq!(reports.only().await.messages_received, 7);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_in_thousands_of_fragments_is_one_message() {
    for shape in SHAPES {
        let payload: Vec<u8> = (0..5000_u32).map(|number| number as u8).collect();
        let frames = in_bytes(0x82, &payload);
        for streamed in [true, false] {
            let config = streaming().max_fragments(None);
            let (mut peer, mut socket, _reports) = hold(shape, config).await;
            let sending = async {
                for piece in frames.chunks(100) {
                    peer.send(piece).await;
                    tokio::task::yield_now().await;
                }
            };
            let receiving = async {
                if streamed {
                    rest(&mut next(&mut socket).await).await
                } else {
                    let message = within(socket.recv()).await.unwrap();
                    message.unwrap().as_bytes().to_vec()
                }
            };
            let (received, ()) = tokio::join!(receiving, sending);
            assert_eq!(received, payload);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn control_frames_inside_a_message_are_observed_where_they_are_asked_for() {
    for shape in SHAPES {
        // A timeout would wake a reader that was forgotten.
        let config = streaming().ping_interval(None);
        let (mut peer, mut socket, _reports) = hold(shape, config).await;
        peer.send([client_frame(0x01, "a"), ping("p")].concat())
            .await;
        idle().await;
        // From now on they are reported.
        assert!(once(pin!(socket.recv_event())).await.is_pending());
        peer.send([client_frame(0x00, "b"), ping("q"), client_frame(0x80, "c")].concat())
            .await;
        let mut events = vec![];
        while events.len() < 2 {
            events.push(within(socket.recv_event()).await.unwrap().unwrap());
        }
        let seen = Event::Ping(Bytes::from_static(b"q"));
        assert_eq!(events, [seen, Event::Message("abc".into())]);
        // A reader passes over them, also where everything is there before it reads.
        for bytes in [client_frame(0x01, "a"), ping("r"), client_frame(0x80, "b")] {
            peer.send(bytes).await;
            idle().await;
        }
        assert_eq!(rest(&mut next(&mut socket).await).await, b"ab");
        let pongs = [Frame::pong("p"), Frame::pong("q"), Frame::pong("r")];
        assert_eq!(super::frames(&mut peer, 3).await, pongs);
    }
}

#[tokio::test(start_paused = true)]
async fn text_that_turns_invalid_in_its_third_piece_is_1007() {
    for shape in SHAPES {
        for fragmented in [false, true] {
            let (mut peer, mut socket, reports) = hold(shape, streaming()).await;
            let whole = client_frame(0x81, [b"abc", &b"\xff"[..], b"never read"].concat());
            let pieces = if fragmented {
                [
                    client_frame(0x01, "a"),
                    client_frame(0x00, "b"),
                    client_frame(0x00, "\u{e9}".as_bytes().split_at(1).0),
                    client_frame(0x80, "c"),
                ]
            } else {
                [&whole[..7], &whole[7..8], &whole[8..9], &whole[9..]].map(<[u8]>::to_vec)
            };
            peer.send(&pieces[0]).await;
            let mut reader = next(&mut socket).await;
            assert_eq!(chunk(&mut reader).await, b"a");
            peer.send(&pieces[1]).await;
            assert_eq!(chunk(&mut reader).await, b"b");
            peer.send(&pieces[2]).await;
            let _some = chunk(&mut reader).await;
            peer.send(&pieces[3]).await;
            let error = within(reader.chunk()).await.expect_err("it is no UTF-8");
            assert!(error.is_protocol(), "{error:?}");
            assert!(within(reader.chunk()).await.is_err(), "it is not whole");
            drop(reader);
            assert_eq!(within(socket.recv()).await.unwrap(), None);
            assert_eq!(peer.frame().await.code(), Some(1007));
            drop((socket, peer));
            let report = reports.only().await;
            assert_eq!(
                (report.ended_by, report.messages_received),
                (EndedBy::Violation, 0)
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receive_that_is_cancelled_loses_no_piece() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, streaming()).await;
        let message = text("one two three");
        let (head, payload) = message.split_at(6);
        peer.send([head, &payload[..4]].concat()).await;
        idle().await;
        assert!(once(pin!(socket.recv())).await.is_pending());
        peer.send(&payload[4..8]).await;
        idle().await;
        assert!(once(pin!(socket.recv())).await.is_pending());
        peer.send(&payload[8..9]).await;
        let mut reader = next(&mut socket).await;
        assert_eq!(reader.kind(), MessageKind::Text);
        assert_eq!(chunk(&mut reader).await, b"one two t");
        assert!(once(pin!(reader.chunk())).await.is_pending());
        peer.send(&payload[9..]).await;
        assert_eq!(rest(&mut reader).await, b"hree");
        drop(reader);
        expect_next(&mut peer, &mut socket).await;
        // And the whole again, where it ends with an empty fragment.
        peer.send(client_frame(0x01, "a")).await;
        idle().await;
        assert!(once(pin!(socket.recv())).await.is_pending());
        peer.send(client_frame(0x80, "")).await;
        assert_eq!(rest(&mut next(&mut socket).await).await, b"a");
        expect_next(&mut peer, &mut socket).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reader_passes_over_what_has_come_and_what_is_to_come() {
    for shape in SHAPES {
        for read_ahead in [1, 1000, 64 << 10] {
            let config = streaming().max_read_ahead(read_ahead);
            let (mut peer, mut socket, _reports) = hold(shape, config).await;
            for size in [10_usize, 10_000] {
                // The rest is there, is partly there, or comes later; then a message follows.
                let rest = [
                    client_frame(0x00, vec![2; size]),
                    ping("p"),
                    client_frame(0x00, ""),
                    client_frame(0x80, vec![3; size]),
                ];
                for early in 0..=rest.len() {
                    peer.send(client_frame(0x02, vec![1; size])).await;
                    let reader = next(&mut socket).await;
                    peer.send(rest[..early].concat()).await;
                    idle().await;
                    drop(reader);
                    idle().await;
                    peer.send(rest[early..].concat()).await;
                    peer.send(in_bytes(0x81, b"in bytes")).await;
                    let message = within(socket.recv()).await.unwrap();
                    assert_eq!(message, Some("in bytes".into()), "{early}");
                    assert_eq!(peer.frame().await, Frame::pong("p"));
                    expect_next(&mut peer, &mut socket).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_dropped_in_the_middle_of_a_frame_passes_over_the_rest_of_it() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, streaming()).await;
        let message = binary(vec![1; 200_000]);
        let following = [text("a"), in_bytes(0x82, b"b"), text("c")].concat();
        for cut in [15, 1000, 40_000] {
            peer.send(&message[..cut]).await;
            let mut reader = next(&mut socket).await;
            let mut some = [0];
            within(reader.read_exact(&mut some)).await.unwrap();
            drop(reader);
            peer.send(&message[cut..]).await;
            peer.send(&following).await;
            assert_eq!(within(socket.recv()).await.unwrap(), Some("a".into()));
            assert_eq!(rest(&mut next(&mut socket).await).await, b"b");
            assert_eq!(within(socket.recv()).await.unwrap(), Some("c".into()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_a_message_that_was_read_to_its_end_is_dropped_without_effect() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, streaming()).await;
        peer.send([client_frame(0x02, "a"), client_frame(0x80, "b"), text("c")].concat())
            .await;
        let mut reader = next(&mut socket).await;
        let mut payload = [0; 2];
        within(reader.read_exact(&mut payload)).await.unwrap();
        assert_eq!(&payload, b"ab");
        drop(reader);
        assert_eq!(within(socket.recv()).await.unwrap(), Some("c".into()));
        // One of which nothing was read is passed over, and only that.
        peer.send([text("d"), text("e")].concat()).await;
        drop(next(&mut socket).await);
        assert_eq!(within(socket.recv()).await.unwrap(), Some("e".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reader_leaves_nothing_in_the_next_connections_way() {
    // The inbox belongs to the thread between messages.
    for shape in SHAPES {
        for _ in 0..3 {
            let (mut peer, mut socket, _reports) = hold(shape, streaming()).await;
            peer.send(client_frame(0x02, "a")).await;
            drop(next(&mut socket).await);
            idle().await;
            let (mut other, mut others, _more) = hold(shape, streaming()).await;
            other.send(in_bytes(0x81, b"other")).await;
            let message = within(others.recv()).await.unwrap();
            assert_eq!(message, Some("other".into()));
            peer.send(client_frame(0x80, "b")).await;
            expect_next(&mut peer, &mut socket).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_inside_a_message_is_an_error_once() {
    for shape in SHAPES {
        let (mut peer, mut socket, reports) = hold(shape, streaming()).await;
        peer.send(client_frame(0x02, "some")).await;
        let mut reader = next(&mut socket).await;
        peer.send(&client_frame(0x00, "thing")[..8]).await;
        peer.finish().await;
        assert_eq!(chunk(&mut reader).await, b"some");
        assert_eq!(chunk(&mut reader).await, b"th");
        let error = within(reader.chunk()).await.expect_err("it is not over");
        assert!(error.is_disconnect(), "{error:?}");
        assert!(within(reader.chunk()).await.is_err(), "it is not whole");
        drop(reader);
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        assert!(within(socket.recv_reader()).await.unwrap().is_none());
        drop((socket, peer));
        let report = reports.only().await;
        assert_eq!(
            (report.ended_by, report.messages_received),
            (EndedBy::Disconnect, 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_inside_a_message_is_an_error_for_its_reader() {
    for shape in SHAPES {
        let (mut peer, mut socket, reports) = hold(shape, streaming()).await;
        peer.send(client_frame(0x02, "some")).await;
        let mut reader = next(&mut socket).await;
        assert_eq!(chunk(&mut reader).await, b"some");
        peer.send(close(1000, "")).await;
        let mut buffer = [0; 10];
        let error = within(reader.read(&mut buffer))
            .await
            .expect_err("it is not over");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        drop(reader);
        // The connection itself has ended well.
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        assert_eq!(peer.frame().await.code(), Some(1000));
        drop((socket, peer));
        assert!(reports.only().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn a_receive_never_gives_half_a_message() {
    for shape in SHAPES {
        for end in [vec![], close(1000, ""), client_frame(0x83, "")] {
            let (mut peer, mut socket, _reports) = hold(shape, streaming()).await;
            peer.send([text("a"), client_frame(0x01, "b")].concat())
                .await;
            idle().await;
            peer.send([client_frame(0x00, "c"), end].concat()).await;
            peer.finish().await;
            assert_eq!(within(socket.recv()).await.unwrap(), Some("a".into()));
            let received = within(socket.recv()).await;
            assert!(matches!(received, Ok(None) | Err(_)), "{received:?}");
            assert_eq!(within(socket.recv()).await.unwrap(), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_inside_a_message_is_an_error_for_its_reader() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(1000);
        let plan = crate::session::support::Plan {
            max_read: Some(10),
            fault: Some((6, crate::session::support::Fault::Error)),
            ..Default::default()
        };
        let (mut socket, _reports) = hold_over(shape, streaming(), Wire::new(theirs, plan)).await;
        let mut peer = Peer::new(ours);
        peer.send(binary([1; 100])).await;
        let mut reader = next(&mut socket).await;
        let mut payload = vec![];
        let error = within(reader.read_to_end(&mut payload)).await;
        let error = error.expect_err("it is not over");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(payload.len() < 100 && payload.iter().all(|byte| *byte == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn our_close_ends_a_reader() {
    for shape in SHAPES {
        let (mut peer, mut socket, reports) = hold(shape, streaming()).await;
        peer.send(client_frame(0x02, "some")).await;
        let sender = socket.sender();
        let mut reader = next(&mut socket).await;
        peer.send(client_frame(0x00, "undelivered")).await;
        idle().await;
        sender.close(tower_websocket::CloseCode::NORMAL);
        peer.send([client_frame(0x80, "late"), text("late")].concat())
            .await;
        assert_eq!(chunk(&mut reader).await, b"some");
        assert!(once(pin!(reader.chunk())).await.is_pending());
        peer.send(close(1000, "")).await;
        let error = within(reader.chunk()).await.expect_err("it is not over");
        assert!(matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof));
        drop(reader);
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        peer.finish().await;
        drop((socket, sender));
        assert!(reports.only().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_reader_does_not_read_stops_the_peer() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(1000);
        let wire = Wire::new(theirs, crate::session::support::Plan::default());
        let log = wire.log();
        let config = streaming().max_read_ahead(10_000);
        let (mut socket, _reports) = hold_over(shape, config, wire).await;
        let mut peer = Peer::new(ours);
        let sending = tokio::spawn(async move {
            peer.send(client_header(0x82, 1_000_000)).await;
            for _ in 0..1000 {
                peer.send([0; 1000]).await;
            }
            peer.send(ping("behind")).await;
            peer
        });
        let mut reader = next(&mut socket).await;
        // Pings sent behind the message wait with it: nothing is read.
        sleep(Duration::from_secs(300)).await;
        let read = lock(&log).read;
        assert!(read < 10_000 + 64_000 + 10_000, "{read}");
        assert!(!sending.is_finished());
        assert_eq!(rest(&mut reader).await.len(), 1_000_000);
        drop(reader);
        let mut peer = within(sending).await.unwrap();
        loop {
            let frame = peer.frame().await;
            if frame == Frame::pong("behind") {
                break;
            }
            assert!(frame.is_ping(), "{frame:?}");
        }
        expect_next(&mut peer, &mut socket).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_in_another_task_is_woken_for_every_piece() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, streaming().max_read_ahead(1)).await;
        let (sender, mut receiver) = socket.split();
        let reading = tokio::spawn(async move {
            let mut payload = vec![];
            let mut reader = receiver.recv_reader().await.unwrap().unwrap();
            while let Some(chunk) = reader.chunk().await.unwrap() {
                payload.extend(chunk);
                sender.send("got it").await.unwrap();
            }
            payload
        });
        peer.send(client_frame(0x02, "")).await;
        for _ in 0..100 {
            peer.send(client_frame(0x00, "piece")).await;
            assert_eq!(peer.frame().await, Frame::text("got it"));
        }
        peer.send(client_frame(0x80, "")).await;
        assert_eq!(within(reading).await.unwrap(), b"piece".repeat(100));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_reads_and_replies_before_the_close_behind_the_message() {
    for shape in SHAPES {
        for read_ahead in [1, 64 << 10] {
            let config = streaming().max_read_ahead(read_ahead);
            let (mut peer, reports) = open(shape, config, async |mut socket: WebSocket| {
                let sender = socket.sender();
                while let Some(mut reader) = socket.recv_reader().await? {
                    let mut len = 0;
                    while let Some(chunk) = reader.chunk().await? {
                        len += chunk.len();
                    }
                    sender.send(len.to_string()).await?;
                }
                Ok::<_, Error>(())
            })
            .await;
            let bytes = [
                client_frame(0x02, vec![1; 20_000]),
                client_frame(0x00, vec![1; 20_000]),
                client_frame(0x80, vec![1; 10_000]),
                text("hello"),
                close(1000, ""),
            ];
            peer.send(bytes.concat()).await;
            assert_eq!(peer.frame().await, Frame::text("50000"));
            assert_eq!(peer.frame().await, Frame::text("5"));
            assert_eq!(peer.frame().await.code(), Some(1000));
            peer.finish().await;
            let report = reports.only().await;
            assert_eq!((report.messages_received, report.messages_sent), (2, 2));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_streaming_a_message_is_read_when_all_of_it_has_come() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
        peer.send(client_frame(0x01, "one ")).await;
        idle().await;
        assert!(once(pin!(socket.recv_reader())).await.is_pending());
        peer.send(client_frame(0x80, "two")).await;
        let mut reader = next(&mut socket).await;
        assert_eq!(chunk(&mut reader).await, b"one two");
        assert_eq!(within(reader.chunk()).await.unwrap(), None);
        drop(reader);
        peer.send(text("passed over")).await;
        drop(next(&mut socket).await);
        expect_next(&mut peer, &mut socket).await;
    }
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_when_a_piece_is_taken_though_nobody_asks_for_more() {
    for shape in SHAPES {
        // A ping of ours would have the session look again.
        let config = streaming().max_read_ahead(1).ping_interval(None);
        let (mut peer, mut socket, _reports) = hold(shape, config).await;
        peer.send([text("a"), text("b"), ping("behind")].concat())
            .await;
        idle().await;
        // The inbox is full of the first, and then of the second.
        assert_eq!(chunk(&mut next(&mut socket).await).await, b"a");
        assert_eq!(chunk(&mut next(&mut socket).await).await, b"b");
        assert_eq!(peer.frame().await, Frame::pong("behind"));
    }
}
