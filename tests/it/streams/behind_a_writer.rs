//! What others send while a message is written piece by piece.

use std::pin::pin;

use tokio::io::{AsyncWriteExt, duplex};
use tower_websocket::{
    CloseCode, Config, Error, MessageKind, PreparedMessage, TrySendError, WebSocket,
};

use super::{begin, frame, frames};
use crate::session::support::{
    Frame, PIPE, Peer, SHAPES, Wire, close, hold, hold_over, idle, once, open, ping, within,
};

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
    let prepared = PreparedMessage::new("prepared");
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
            let writer = sender.send_writer(MessageKind::Binary);
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
                let writer = second.send_writer(MessageKind::Text).await?;
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
            let mut writer = socket.send_writer(MessageKind::Text).await?;
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
            let mut waiting = pin!(socket.send_writer(MessageKind::Binary));
            assert!(once(waiting.as_mut()).await.is_pending());
            // One that gives up changes nothing.
            assert!(
                once(pin!(socket.send_writer(MessageKind::Text)))
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
                let writer = sender.send_writer(MessageKind::Binary).await?;
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
                let mut writer = sender.send_writer(MessageKind::Binary).await?;
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
