//! Writers: what leaves, in which order, and how it ends.

use std::{io, pin::pin, task::Poll};

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, copy, duplex};
use tower_websocket::{
    CloseCode, Config, EndedBy, Error, MessageKind, Prepared, TrySendError, WebSocket,
};

use super::{begin, frame, frames, is_invalid_data};
use crate::session::support::{
    Frame, PIPE, Peer, SHAPES, Wire, binary, close, hold, hold_over, idle, once, open, ping, text,
    within,
};

#[tokio::test(start_paused = true)]
async fn a_message_leaves_in_fragments_of_the_chosen_size() {
    for shape in SHAPES {
        let config = Config::default().fragment_size(5);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let first = if kind == MessageKind::Text { 1 } else { 2 };
            let mut writer = begin(&socket, kind).await;
            writer.write_all(b"Hello, world").await.unwrap();
            writer.finish().await.unwrap();
            let expected = [
                frame(first, "Hello"),
                frame(0x00, ", wor"),
                frame(0x80, "ld"),
            ];
            assert_eq!(frames(&mut peer, 3).await, expected);
        }
        // A message of that size is one frame, and of twice that two.
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(b"Hello").await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, Frame::text("Hello"));
        let mut writer = begin(&socket, MessageKind::Text).await;
        for byte in "HelloWorld".bytes() {
            writer.write_u8(byte).await.unwrap();
        }
        writer.finish().await.unwrap();
        let expected = [frame(0x01, "Hello"), frame(0x80, "World")];
        assert_eq!(frames(&mut peer, 2).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_are_16_kib_by_default() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.write_all(&[7; 40_000]).await.unwrap();
        writer.finish().await.unwrap();
        let expected = [
            frame(0x02, [7; 16 << 10]),
            frame(0x00, [7; 16 << 10]),
            frame(0x80, [7; 40_000 - (32 << 10)]),
        ];
        assert_eq!(frames(&mut peer, 3).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_fragment_leaves_before_the_message_ends() {
    for shape in SHAPES {
        let config = Config::default().fragment_size(5);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.write_all(b"Hello, ").await.unwrap();
        assert_eq!(peer.frame().await, frame(0x02, "Hello"));
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, frame(0x80, ", "));
    }
}

/// However large it may be: what waits for it is memory.
#[tokio::test(start_paused = true)]
async fn a_fragment_is_full_with_1_mib() {
    for shape in SHAPES {
        let config = Config::default().fragment_size(usize::MAX);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        let mut writer = begin(&socket, MessageKind::Binary).await;
        let fragment = vec![7; 1 << 20];
        writer.write_all(&fragment).await.unwrap();
        writer.write_all(b"more").await.unwrap();
        assert_eq!(peer.frame().await, frame(0x02, fragment));
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, frame(0x80, "more"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_sends_what_there_is_and_nothing_where_there_is_nothing() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.flush().await.unwrap();
        for (first, piece) in [(0x01, "a"), (0x00, "bc"), (0x00, "d")] {
            writer.write_all(piece.as_bytes()).await.unwrap();
            writer.flush().await.unwrap();
            writer.flush().await.unwrap();
            assert_eq!(peer.frame().await, frame(first, piece));
        }
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, frame(0x80, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_until_the_transport_has_it() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(10);
        let (socket, _reports) = hold_over(shape, Config::default(), theirs).await;
        let mut peer = Peer::new(ours);
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.write_all(&[1; 100]).await.unwrap();
        {
            let mut flushing = pin!(writer.flush());
            assert!(once(flushing.as_mut()).await.is_pending());
            idle().await;
            assert!(once(flushing.as_mut()).await.is_pending());
            assert_eq!(peer.frame().await, frame(0x02, [1; 100]));
            within(flushing).await.unwrap();
        }
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, frame(0x80, ""));
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_message_is_one_empty_frame() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        let writer = begin(&socket, MessageKind::Text).await;
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, Frame::text(""));
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.write_all(b"").await.unwrap();
        writer.shutdown().await.unwrap();
        assert_eq!(peer.frame().await, Frame::binary(""));
        drop(writer);
        drop(socket);
        assert_eq!(peer.frame().await.code(), Some(1000));
        drop(peer);
        let report = reports.only().await;
        assert_eq!((report.messages_sent, report.bytes_sent), (2, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn text_may_be_cut_inside_a_character() {
    for shape in SHAPES {
        let config = Config::default().fragment_size(3);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        let text = "κόσμε 🦀!";
        let mut writer = begin(&socket, MessageKind::Text).await;
        for byte in text.bytes() {
            writer.write_all(&[byte]).await.unwrap();
        }
        writer.finish().await.unwrap();
        let mut payload = vec![];
        loop {
            let frame = peer.frame().await;
            payload.extend(frame.payload);
            if frame.first & 0x80 != 0 {
                break;
            }
        }
        assert_eq!(payload, text.as_bytes());

        let mut writer = begin(&socket, MessageKind::Text).await;
        let bytes = Bytes::from_static("é".as_bytes());
        writer.send(bytes.slice(..1)).await.unwrap();
        writer.send(bytes.slice(1..)).await.unwrap();
        writer.finish().await.unwrap();
        let expected = [frame(0x01, [0xc3]), frame(0x00, [0xa9]), frame(0x80, "")];
        assert_eq!(frames(&mut peer, 3).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_text_is_not_taken() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer
            .write_all("é".as_bytes().split_at(1).0)
            .await
            .unwrap();
        let error = writer.write_all(b"x").await.expect_err("it is no UTF-8");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(writer);
        let mut writer = begin(&socket, MessageKind::Text).await;
        let error = writer.send(&b"\xff"[..]).await.expect_err("it is no UTF-8");
        assert!(is_invalid_data(&error), "{error:?}");
        drop(writer);
        // Nothing of either has left.
        socket.send("fine").await.unwrap();
        assert_eq!(peer.frame().await, Frame::text("fine"));
    }
}

#[tokio::test(start_paused = true)]
async fn text_that_ends_inside_a_character_closes_where_it_has_begun_to_leave() {
    for shape in SHAPES {
        let half = &"é".as_bytes()[..1];
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(half).await.unwrap();
        let error = writer.finish().await.expect_err("half a character");
        assert!(is_invalid_data(&error), "{error:?}");
        socket.send("fine").await.unwrap();
        assert_eq!(peer.frame().await, Frame::text("fine"));

        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(half).await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(peer.frame().await, frame(0x01, half));
        // A writer that is still there may go on.
        let error = writer.shutdown().await.expect_err("half a character");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        writer.write_all(&"é".as_bytes()[1..]).await.unwrap();
        writer.write_all(half).await.unwrap();
        let error = writer.finish().await.expect_err("half a character");
        assert!(is_invalid_data(&error), "{error:?}");
        assert_eq!(peer.frame().await.code(), Some(1011));
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_are_shared_and_leave_in_order_with_what_is_written() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(10);
        let (socket, _reports) = hold_over(shape, Config::default(), theirs).await;
        let mut peer = Peer::new(ours);
        let large = Bytes::from(vec![2; 5000]);
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.write_all(b"before").await.unwrap();
        writer.send(large.clone()).await.unwrap();
        assert!(!large.is_unique(), "they are shared");
        let small = Bytes::from(vec![3; 5]);
        writer.send(small.clone()).await.unwrap();
        assert!(small.is_unique(), "they are few");
        writer.write_all(b"after").await.unwrap();
        writer.finish().await.unwrap();
        let expected = [
            frame(0x02, "before"),
            frame(0x00, [2; 5000]),
            frame(0x00, [3; 5]),
            frame(0x80, "after"),
        ];
        assert_eq!(frames(&mut peer, 4).await, expected);
        idle().await;
        assert!(large.is_unique(), "what has left is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn control_frames_go_on_between_fragments() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(b"a").await.unwrap();
        writer.flush().await.unwrap();
        peer.send(ping("there?")).await;
        assert_eq!(peer.frame().await, frame(0x01, "a"));
        assert_eq!(peer.frame().await, Frame::pong("there?"));
        socket.ping("and you?").unwrap();
        socket.pong("here").unwrap();
        assert_eq!(peer.frame().await, Frame::ping("and you?"));
        assert_eq!(peer.frame().await, Frame::pong("here"));
        writer.write_all(b"b").await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, frame(0x80, "b"));
    }
}

/// Sends a message in every way that there is, in this order.
async fn send_in_every_way(socket: &mut WebSocket, sent: &mut Vec<Frame>) {
    socket.send("sent").await.unwrap();
    socket.try_send("tried").unwrap();
    let prepared = Prepared::new("prepared");
    socket.try_send(&prepared).unwrap();
    socket.sender().send("by a sender").await.unwrap();
    socket.try_send(vec![9; 5000]).unwrap();
    let feed = futures_util::SinkExt::feed(socket, "by a sink".into());
    feed.await.unwrap();
    let texts = ["sent", "tried", "prepared", "by a sender"];
    sent.extend(texts.map(Frame::text));
    sent.push(Frame::binary([9; 5000]));
    sent.push(Frame::text("by a sink"));
}

#[tokio::test(start_paused = true)]
async fn other_messages_leave_behind_it_and_in_order() {
    for shape in SHAPES {
        for written in [false, true] {
            let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
            let sender = socket.sender();
            let mut behind = vec![];
            let writer = sender.send_stream(MessageKind::Binary);
            let mut writer = within(writer).await.unwrap();
            send_in_every_way(&mut socket, &mut behind).await;
            writer.write_all(b"a").await.unwrap();
            writer.flush().await.unwrap();
            if written {
                assert_eq!(peer.frame().await, frame(0x02, "a"));
                idle().await;
            }
            send_in_every_way(&mut socket, &mut behind).await;
            writer.write_all(b"b").await.unwrap();
            writer.flush().await.unwrap();
            if written {
                assert_eq!(peer.frame().await, frame(0x00, "b"));
                idle().await;
                peer.send(ping("meanwhile")).await;
                assert_eq!(peer.frame().await, Frame::pong("meanwhile"));
            }
            writer.finish().await.unwrap();
            send_in_every_way(&mut socket, &mut behind).await;
            if !written {
                let expected = [frame(0x02, "a"), frame(0x00, "b")];
                assert_eq!(frames(&mut peer, 2).await, expected);
            }
            assert_eq!(peer.frame().await, frame(0x80, ""));
            assert_eq!(frames(&mut peer, behind.len()).await, behind);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_behind_it_keep_their_order_while_a_write_is_under_way() {
    for shape in SHAPES {
        // The hook sends in every write, while the session has the queue.
        let (ours, theirs) = duplex(PIPE);
        let (hand_over, handed) = std::sync::mpsc::channel::<tower_websocket::Sender>();
        let mut sender = None;
        let mut number = 0_u8;
        let plan = crate::session::support::Plan {
            max_write: Some(3),
            pending: Some(5),
            ..Default::default()
        };
        let wire = Wire::new(theirs, plan).on_write(move || {
            if let Ok(handed) = handed.try_recv() {
                sender = Some(handed);
            }
            if let Some(sender) = sender.as_ref().filter(|_| number < 20) {
                sender.try_send(vec![number]).expect("there is room");
                number += 1;
            }
        });
        let (socket, _reports) = hold_over(shape, Config::default(), wire).await;
        let mut peer = Peer::new(ours);
        hand_over.send(socket.sender()).unwrap();
        let mut writer = begin(&socket, MessageKind::Text).await;
        let mut payload = vec![];
        for _ in 0..10 {
            writer.write_all(b"some text").await.unwrap();
            writer.flush().await.unwrap();
            payload.extend(peer.frame().await.payload);
        }
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, frame(0x80, ""));
        assert_eq!(payload, b"some text".repeat(10));
        for number in 0..20 {
            assert_eq!(peer.frame().await, Frame::binary([number]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_behind_it_waits_for_it_and_does_not_hinder_it() {
    for shape in SHAPES {
        for config in [
            Config::default().max_send_queue(1000),
            Config::default().max_send_messages(2),
        ] {
            let (mut peer, socket, _reports) = hold(shape, config).await;
            let mut writer = begin(&socket, MessageKind::Text).await;
            socket.try_send(vec![1; 600]).unwrap();
            socket.try_send(vec![2; 600]).unwrap();
            let refused = socket.try_send("refused");
            assert!(matches!(refused, Err(TrySendError::Full(_))));
            let sender = socket.sender();
            let waiting = tokio::spawn(async move { sender.send("waited").await });
            let second = socket.sender();
            let second = tokio::spawn(async move {
                let writer = second.send_stream(MessageKind::Text).await?;
                writer.finish().await
            });
            for number in 0..100 {
                writer.write_all(b"x").await.unwrap();
                within(writer.flush()).await.unwrap();
                let first = if number == 0 { 0x01 } else { 0x00 };
                assert_eq!(peer.frame().await, frame(first, "x"));
            }
            idle().await;
            assert!(!waiting.is_finished());
            writer.finish().await.unwrap();
            assert_eq!(peer.frame().await, frame(0x80, ""));
            assert_eq!(peer.frame().await, Frame::binary([1; 600]));
            assert_eq!(peer.frame().await, Frame::binary([2; 600]));
            let mut last = frames(&mut peer, 2).await;
            last.sort_by_key(|frame| frame.payload.len());
            assert_eq!(last, [Frame::text(""), Frame::text("waited")]);
            within(waiting).await.unwrap().unwrap();
            within(second).await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_sends_behind_its_own_writer_without_waiting() {
    for shape in SHAPES {
        let (mut peer, reports) = open(shape, Config::default(), async |socket: WebSocket| {
            let mut writer = socket.send_stream(MessageKind::Text).await?;
            writer.write_all(b"a").await?;
            for _ in 0..100 {
                socket.send(vec![1; 5000]).await?;
            }
            writer.flush().await?;
            socket.send("behind").await?;
            writer.finish().await?;
            socket.flush().await
        })
        .await;
        assert_eq!(
            frames(&mut peer, 2).await,
            [frame(0x01, "a"), frame(0x80, "")]
        );
        for _ in 0..100 {
            assert_eq!(peer.frame().await, Frame::binary([1; 5000]));
        }
        assert_eq!(peer.frame().await, Frame::text("behind"));
        assert_eq!(peer.frame().await.code(), Some(1000));
        drop(peer);
        assert_eq!(reports.only().await.messages_sent, 102);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_writer_waits_for_the_first() {
    for shape in SHAPES {
        for abandoned in [false, true] {
            let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
            let mut first = begin(&socket, MessageKind::Text).await;
            first.write_all(b"first").await.unwrap();
            let mut waiting = pin!(socket.send_stream(MessageKind::Binary));
            assert!(once(waiting.as_mut()).await.is_pending());
            // One that gives up changes nothing.
            assert!(
                once(pin!(socket.send_stream(MessageKind::Text)))
                    .await
                    .is_pending()
            );
            if abandoned {
                drop(first);
            } else {
                first.finish().await.unwrap();
                assert_eq!(peer.frame().await, Frame::text("first"));
            }
            let mut second = within(waiting).await.unwrap();
            second.write_all(b"second").await.unwrap();
            second.finish().await.unwrap();
            assert_eq!(peer.frame().await, Frame::binary("second"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_writer_is_woken_though_nothing_of_the_first_has_left() {
    for shape in SHAPES {
        for uncompressed in [false, true] {
            let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
            let mut first = begin(&socket, MessageKind::Text).await;
            if uncompressed {
                first = first.uncompressed();
            }
            first.write_all(b"never sent").await.unwrap();
            let sender = socket.sender();
            let second = tokio::spawn(async move {
                let writer = sender.send_stream(MessageKind::Binary).await?;
                writer.finish().await
            });
            idle().await;
            assert!(!second.is_finished());
            drop(first);
            within(second).await.unwrap().unwrap();
            assert_eq!(peer.frame().await, Frame::binary(""));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_writers_take_turns() {
    for shape in SHAPES {
        let config = Config::default().fragment_size(3).max_send_queue(10);
        let (mut peer, socket, _reports) = hold(shape, config).await;
        for number in 0..20_u8 {
            let sender = socket.sender();
            tokio::spawn(async move {
                let mut writer = sender.send_stream(MessageKind::Binary).await?;
                for _ in 0..20 {
                    writer.write_all(&[number; 7]).await?;
                    tokio::task::yield_now().await;
                }
                writer.finish().await
            });
        }
        let mut seen = vec![];
        for _ in 0..20 {
            let mut payload = vec![];
            loop {
                let frame = peer.frame().await;
                assert_eq!(frame.first & 0x0f, if payload.is_empty() { 2 } else { 0 });
                payload.extend(frame.payload);
                if frame.first & 0x80 != 0 {
                    break;
                }
            }
            assert_eq!(payload, vec![payload[0]; 140]);
            seen.push(payload[0]);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..20));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_stops_the_writer() {
    for shape in SHAPES {
        for size in [100, 16 << 10] {
            let config = Config::default()
                .max_send_queue(100_000)
                .fragment_size(size)
                .write_timeout(None)
                .ping_interval(None);
            let (ours, theirs) = duplex(1000);
            let (socket, _reports) = hold_over(shape, config, theirs).await;
            let sender = socket.sender();
            let writing = tokio::spawn(async move {
                let mut writer = socket.send_stream(MessageKind::Binary).await?;
                for number in 0..1000_u32 {
                    writer.write_all(&[number as u8; 1000]).await?;
                }
                writer.finish().await
            });
            idle().await;
            assert!(!writing.is_finished());
            let queued = sender.queued();
            assert!(queued > 90_000, "{queued}");
            assert!(queued <= 100_000 + size + 10, "{queued}");
            let mut peer = Peer::new(ours);
            let mut payload = vec![];
            loop {
                let frame = peer.frame().await;
                payload.extend(frame.payload);
                if frame.first & 0x80 != 0 {
                    break;
                }
                assert!(sender.queued() <= 100_000 + size + 10);
            }
            let mut expected = payload.chunks(1000).zip(0_u32..);
            assert!(expected.all(|(chunk, number)| chunk == [number as u8; 1000]));
            assert_eq!(payload.len(), 1_000_000);
            within(writing).await.unwrap().unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_a_writer_and_nothing_follows_it() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(b"a").await.unwrap();
        writer.flush().await.unwrap();
        writer.write_all(b"never sent").await.unwrap();
        socket.send("behind").await.unwrap();
        socket.close(CloseCode::GOING_AWAY);
        let error = writer.flush().await.expect_err("it is closed");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let sent = writer.send("x").await;
        assert!(matches!(sent, Err(Error::Closed)));
        let finished = writer.finish().await;
        assert!(matches!(finished, Err(Error::Closed)));
        let begun = socket.send_stream(MessageKind::Text).await.map(drop);
        assert!(matches!(begun, Err(Error::Closed)));
        assert_eq!(peer.frame().await, frame(0x01, "a"));
        assert_eq!(peer.frame().await.code(), Some(1001));
        peer.send(close(1001, "")).await;
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
        drop(socket);
        let report = reports.only().await;
        assert!(report.clean);
        assert_eq!((report.ended_by, report.close_code), (EndedBy::Local, 1001));
    }
}

#[tokio::test(start_paused = true)]
async fn the_peers_close_ends_a_writer() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(b"a").await.unwrap();
        writer.flush().await.unwrap();
        let second = socket.sender();
        let second =
            tokio::spawn(async move { second.send_stream(MessageKind::Text).await.map(drop) });
        idle().await;
        peer.send(close(4000, "")).await;
        peer.finish().await;
        assert_eq!(peer.frame().await, frame(0x01, "a"));
        assert_eq!(peer.frame().await.code(), Some(4000));
        assert_eq!(peer.rest().await, []);
        assert!(matches!(within(second).await.unwrap(), Err(Error::Closed)));
        let error = within(writer.write_all(&[b'x'; 100_000])).await;
        assert_eq!(error.expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
        drop(writer);
        drop(socket);
        assert!(reports.only().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_wakes_a_writer_that_waits_for_room() {
    for shape in SHAPES {
        for by_peer in [false, true] {
            let config = Config::default().max_send_queue(10).write_timeout(None);
            let (ours, theirs) = duplex(1000);
            let (socket, _reports) = hold_over(shape, config, theirs).await;
            let mut peer = Peer::new(ours);
            let sender = socket.sender();
            let writing = tokio::spawn(async move {
                let mut writer = sender.send_stream(MessageKind::Binary).await?;
                writer.write_all(&[1; 1 << 20]).await?;
                writer.finish().await
            });
            idle().await;
            if by_peer {
                peer.send(close(1000, "")).await;
            } else {
                socket.close(CloseCode::NORMAL);
            }
            while !peer.frame().await.is_close() {}
            let error = within(writing).await.unwrap().expect_err("it is closed");
            assert!(matches!(error, Error::Io(_) | Error::Closed), "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_of_which_nothing_has_left_is_dropped_without_effect() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        drop(begin(&socket, MessageKind::Text).await);
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(b"never sent").await.unwrap();
        socket.send("behind").await.unwrap();
        drop(writer);
        assert_eq!(peer.frame().await, Frame::text("behind"));
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.write_all(b"next").await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, Frame::binary("next"));
        drop(socket);
        assert_eq!(peer.frame().await.code(), Some(1000));
        drop(peer);
        let report = reports.only().await;
        assert_eq!((report.messages_sent, report.bytes_sent), (2, 10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_dropped_half_way_closes_with_1011() {
    for shape in SHAPES {
        let (mut peer, socket, reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(b"a").await.unwrap();
        writer.flush().await.unwrap();
        writer.write_all(b"never sent").await.unwrap();
        socket.send("behind").await.unwrap();
        drop(writer);
        assert!(matches!(socket.send("late").await, Err(Error::Closed)));
        assert_eq!(peer.frame().await, frame(0x01, "a"));
        assert_eq!(peer.frame().await.code(), Some(1011));
        peer.send(close(1011, "")).await;
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
        drop(socket);
        let report = reports.only().await;
        assert_eq!((report.ended_by, report.close_code), (EndedBy::Local, 1011));
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_dropped_by_a_panic_or_a_failed_handler_closes_with_1011() {
    for shape in SHAPES {
        for panics in [false, true] {
            let (mut peer, _reports) = open(
                shape,
                Config::default(),
                move |socket: WebSocket| async move {
                    let mut writer = socket.send_stream(MessageKind::Text).await?;
                    writer.write_all(b"a").await?;
                    writer.flush().await?;
                    assert!(!panics, "this is a test");
                    Err(Error::from(io::Error::other("this is a test")))
                },
            )
            .await;
            assert_eq!(peer.frame().await, frame(0x01, "a"));
            assert_eq!(peer.frame().await.code(), Some(1011));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_finish_that_is_dropped_drops_the_writer() {
    for shape in SHAPES {
        let config = Config::default().max_send_queue(10).write_timeout(None);
        let (ours, theirs) = duplex(1000);
        let (socket, _reports) = hold_over(shape, config, theirs).await;
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.write_all(b"a").await.unwrap();
        writer.send(vec![1; 5000]).await.unwrap();
        {
            let mut finishing = pin!(writer.finish());
            assert!(once(finishing.as_mut()).await.is_pending());
        }
        let mut peer = Peer::new(ours);
        assert_eq!(peer.frame().await, frame(0x02, "a"));
        assert_eq!(peer.frame().await, frame(0x00, [1; 5000]));
        assert_eq!(peer.frame().await.code(), Some(1011));
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_sends_nothing_of_its_bytes() {
    for shape in SHAPES {
        let config = Config::default().max_send_queue(10).write_timeout(None);
        let (ours, theirs) = duplex(1000);
        let (socket, _reports) = hold_over(shape, config, theirs).await;
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.send(vec![1; 5000]).await.unwrap();
        writer.write_all(b"written").await.unwrap();
        assert!(once(pin!(writer.send(vec![2; 5000]))).await.is_pending());
        assert!(once(pin!(writer.flush())).await.is_pending());
        let mut peer = Peer::new(ours);
        assert_eq!(peer.frame().await, frame(0x02, [1; 5000]));
        writer.finish().await.unwrap();
        assert_eq!(peer.frame().await, frame(0x80, "written"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_message_and_later_writes_are_refused() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(b"a").await.unwrap();
        writer.shutdown().await.unwrap();
        writer.shutdown().await.unwrap();
        assert_eq!(peer.frame().await, Frame::text("a"));
        let error = writer.write_all(b"late").await.expect_err("it is over");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        writer.flush().await.unwrap();
        assert!(matches!(writer.send("late").await, Err(Error::Closed)));
        // Others do not wait for the drop.
        socket.send("behind").await.unwrap();
        assert_eq!(peer.frame().await, Frame::text("behind"));
        let next = begin(&socket, MessageKind::Binary).await;
        writer.finish().await.unwrap();
        next.finish().await.unwrap();
        assert_eq!(peer.frame().await, Frame::binary(""));
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_copied_to_a_message() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let file: Vec<u8> = (0..300_000_u32)
            .map(|number| (number % 251) as u8)
            .collect();
        let copying = async {
            let mut writer = begin(&socket, MessageKind::Binary).await;
            let copied = copy(&mut &file[..], &mut writer).await.unwrap();
            writer.finish().await.unwrap();
            copied
        };
        let reading = async {
            let mut payload = vec![];
            loop {
                let frame = peer.frame().await;
                payload.extend(frame.payload);
                if frame.first & 0x80 != 0 {
                    return payload;
                }
            }
        };
        let (copied, payload) = within(async { tokio::join!(copying, reading) }).await;
        assert_eq!(copied, 300_000);
        assert!(payload == file);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_of_the_connection_waits_for_what_is_behind_a_writer() {
    for shape in SHAPES {
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(b"a").await.unwrap();
        writer.flush().await.unwrap();
        socket.send("behind").await.unwrap();
        let sender = socket.sender();
        let flushing = tokio::spawn(async move { sender.flush().await });
        idle().await;
        assert!(!flushing.is_finished());
        writer.finish().await.unwrap();
        within(flushing).await.unwrap().unwrap();
        assert_eq!(
            frames(&mut peer, 2).await,
            [frame(0x01, "a"), frame(0x80, "")]
        );
        assert_eq!(peer.frame().await, Frame::text("behind"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_does_not_call_sent_what_was_lost_behind_a_writer() {
    for shape in SHAPES {
        for (by_peer, dropped_first) in [(false, true), (false, false), (true, true), (true, false)]
        {
            let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
            let mut writer = begin(&socket, MessageKind::Text).await;
            writer.write_all(b"a").await.unwrap();
            writer.flush().await.unwrap();
            socket.send("behind").await.unwrap();
            assert_eq!(peer.frame().await, frame(0x01, "a"));
            let sender = socket.sender();
            let flushing = tokio::spawn(async move { sender.flush().await });
            idle().await;
            let mut writer = Some(writer);
            if by_peer {
                peer.send(close(1000, "")).await;
                idle().await;
            } else {
                socket.close(CloseCode::NORMAL);
            }
            if dropped_first {
                writer = None;
            }
            assert!(peer.frame().await.is_close());
            if !by_peer {
                peer.send(close(1000, "")).await;
            }
            peer.finish().await;
            assert_eq!(peer.rest().await, []);
            let flushed = within(flushing).await.unwrap();
            assert!(matches!(flushed, Err(Error::Closed)), "{flushed:?}");
            drop(writer);
            within(socket.closed()).await;
            let flushed = within(socket.flush()).await;
            assert!(matches!(flushed, Err(Error::Closed)), "{flushed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_a_streamed_message_once_and_all_its_bytes() {
    for shape in SHAPES {
        let config = Config::default().fragment_size(10);
        let (mut peer, socket, reports) = hold(shape, config).await;
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.write_all(&[1; 25]).await.unwrap();
        writer.send(vec![2; 7]).await.unwrap();
        writer.finish().await.unwrap();
        socket.send("plain").await.unwrap();
        socket.close(CloseCode::NORMAL);
        while !peer.frame().await.is_close() {}
        peer.send(close(1000, "")).await;
        peer.finish().await;
        drop(socket);
        let report = reports.only().await;
        assert_eq!((report.messages_sent, report.bytes_sent), (2, 37));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_streamed_to_a_peer_that_streams_back_is_the_same() {
    for shape in SHAPES {
        let config = super::streaming();
        let (mut peer, _reports) = open(shape, config, async |mut socket: WebSocket| {
            let sender = socket.sender();
            while let Some(mut reader) = socket.recv_stream().await? {
                let mut writer = sender.send_stream(reader.kind()).await?;
                while let Some(chunk) = reader.chunk().await? {
                    writer.send(chunk).await?;
                }
                writer.finish().await?;
            }
            Ok::<_, Error>(())
        })
        .await;
        for message in [text("hello"), binary(vec![3; 60_000]), text("")] {
            let (first, len) = (message[0], message.len());
            peer.send(message).await;
            let mut payload = vec![];
            let mut opcode = 0;
            loop {
                let frame = peer.frame().await;
                opcode |= frame.first & 0x0f;
                payload.extend(frame.payload);
                if frame.first & 0x80 != 0 {
                    break;
                }
            }
            assert_eq!(opcode, first & 0x0f);
            assert!(payload.len() + 14 >= len);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_outlives_the_connection() {
    for shape in SHAPES {
        let (peer, socket, _reports) = hold(shape, Config::default()).await;
        let mut writer = begin(&socket, MessageKind::Text).await;
        writer.write_all(b"a").await.unwrap();
        writer.flush().await.unwrap();
        drop(peer);
        within(socket.closed()).await;
        writer.write_all(b"b").await.unwrap();
        assert!(writer.flush().await.is_err());
        assert!(matches!(
            once(pin!(writer.send("x"))).await,
            Poll::Ready(Err(Error::Closed))
        ));
        drop(writer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_reply_leaves_before_the_answer_to_a_close_in_the_same_read() {
    for shape in SHAPES {
        let config = Config::default().fragment_size(100).max_send_queue(10);
        let (mut peer, reports) = open(shape, config, async |mut socket: WebSocket| {
            while let Some(message) = socket.recv().await? {
                let mut writer = socket.send_stream(MessageKind::Binary).await?;
                for _ in 0..10 {
                    writer.write_all(&message.as_bytes().repeat(100)).await?;
                }
                writer.finish().await?;
            }
            Ok::<_, Error>(())
        })
        .await;
        peer.send([text("a"), close(1000, "")].concat()).await;
        for number in 0..10 {
            let first = match number {
                0 => 0x02,
                9 => 0x80,
                _ => 0x00,
            };
            assert_eq!(peer.frame().await, frame(first, [b'a'; 100]));
        }
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.finish().await;
        assert_eq!(reports.only().await.messages_sent, 1);
    }
}
