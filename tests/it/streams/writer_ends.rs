//! How a message that is written piece by piece ends before it is complete.

use std::{io, pin::pin, task::Poll};

use tokio::io::{AsyncWriteExt, duplex};
use tower_websocket::{CloseCode, Config, Error, MessageKind, WebSocket, session::EndedBy};

use super::{begin, frame, is_invalid_data};
use crate::session::support::{
    Frame, Peer, SHAPES, close, hold, hold_over, idle, once, open, within,
};

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
        let begun = socket.send_writer(MessageKind::Text).await.map(drop);
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
            tokio::spawn(async move { second.send_writer(MessageKind::Text).await.map(drop) });
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
                let mut writer = sender.send_writer(MessageKind::Binary).await?;
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
                    let mut writer = socket.send_writer(MessageKind::Text).await?;
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
