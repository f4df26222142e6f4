//! Writers: what leaves, in which order, and how it ends.

use std::{io, pin::pin};

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, copy, duplex};
use tower_websocket::{CloseCode, Config, Error, MessageKind, WebSocket};

use super::{begin, frame, frames, is_invalid_data};
use crate::session::support::{
    Frame, Peer, SHAPES, binary, close, hold, hold_over, idle, once, open, text, within,
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
                let mut writer = socket.send_writer(MessageKind::Binary).await?;
                for number in 0..1000_u32 {
                    writer.write_all(&[number as u8; 1000]).await?;
                }
                writer.finish().await
            });
            idle().await;
            assert!(!writing.is_finished());
            let queued = sender.queued_bytes();
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
                assert!(sender.queued_bytes() <= 100_000 + size + 10);
            }
            let mut expected = payload.chunks(1000).zip(0_u32..);
            assert!(expected.all(|(chunk, number)| chunk == [number as u8; 1000]));
            assert_eq!(payload.len(), 1_000_000);
            within(writing).await.unwrap().unwrap();
        }
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
            while let Some(mut reader) = socket.recv_reader().await? {
                let mut writer = sender.send_writer(reader.kind()).await?;
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
async fn a_streamed_reply_leaves_before_the_answer_to_a_close_in_the_same_read() {
    for shape in SHAPES {
        let config = Config::default().fragment_size(100).max_send_queue(10);
        let (mut peer, reports) = open(shape, config, async |mut socket: WebSocket| {
            while let Some(message) = socket.recv().await? {
                let mut writer = socket.send_writer(MessageKind::Binary).await?;
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
