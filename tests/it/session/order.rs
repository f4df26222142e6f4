//! Order and delivery: what was received comes first, what was sent still leaves, one Close.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use tokio::{sync::Notify, time::Instant};
use tower_websocket::{CloseCode, Config, Error, Message, WebSocket, session::EndedBy};

use super::support::{
    Frame, SHAPES, binary, client_frame, close, echo, hold, open, ping, text, within,
};

#[tokio::test(start_paused = true)]
async fn messages_come_before_the_close_that_followed_them() {
    for shape in SHAPES {
        let (mut peer, mut socket, reports) = hold(shape, Config::default()).await;
        peer.send([text("a"), binary("b"), close(4001, "bye")].concat())
            .await;
        let received = within(socket.recv()).await.expect("a message");
        assert_eq!(received, Some("a".into()));
        let received = within(socket.recv()).await.expect("a message");
        assert_eq!(received, Some(Message::binary("b")));
        assert_eq!(within(socket.recv()).await.expect("a clean end"), None);
        assert_eq!(within(socket.recv()).await.expect("a clean end"), None);
        assert_eq!(peer.frame().await.code(), Some(4001));
        peer.finish().await;
        drop(socket);
        let report = reports.only().await;
        assert!(report.clean);
        assert_eq!((report.ended_by, report.close_code), (EndedBy::Peer, 4001));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_come_before_the_end_of_the_stream() {
    for shape in SHAPES {
        let (mut peer, mut socket, reports) = hold(shape, Config::default()).await;
        let half = &text("never whole")[..9];
        peer.send([text("a"), text("b"), half.to_vec()].concat())
            .await;
        peer.finish().await;
        for expected in ["a", "b"] {
            let received = within(socket.recv()).await.expect("a message");
            assert_eq!(received, Some(expected.into()));
        }
        let error = within(socket.recv()).await.expect_err("no Close came");
        assert!(error.is_disconnect(), "{error:?}");
        assert_eq!(
            within(socket.recv()).await.expect("an error comes once"),
            None
        );
        drop(socket);
        let report = reports.only().await;
        assert_eq!(
            (report.ended_by, report.close_code),
            (EndedBy::Disconnect, 1006)
        );
        assert!(!report.clean);
        assert_eq!(peer.rest().await, [], "there is nothing to answer");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_come_before_a_violation() {
    for shape in SHAPES {
        let (mut peer, mut socket, reports) = hold(shape, Config::default()).await;
        let violation = client_frame(0xc1, "reserved bit");
        peer.send([text("a"), violation, text("never seen")].concat())
            .await;
        let received = within(socket.recv()).await.expect("a message");
        assert_eq!(received, Some("a".into()));
        let error = within(socket.recv()).await.expect_err("a violation");
        assert!(error.is_protocol(), "{error:?}");
        assert_eq!(
            within(socket.recv()).await.expect("an error comes once"),
            None
        );
        assert_eq!(peer.frame().await.code(), Some(1002));
        peer.finish().await;
        drop(socket);
        let report = reports.only().await;
        assert_eq!(
            (report.ended_by, report.close_code),
            (EndedBy::Violation, 1002)
        );
        assert_eq!(report.messages_received, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn replies_leave_before_the_answer_to_a_close_in_the_same_read() {
    for shape in SHAPES {
        let (mut peer, _reports) = open(shape, Config::default(), echo).await;
        peer.send([text("a"), ping("p"), text("b"), close(1000, "")].concat())
            .await;
        assert_eq!(peer.frame().await, Frame::text("a"));
        assert_eq!(peer.frame().await, Frame::pong("p"));
        assert_eq!(peer.frame().await, Frame::text("b"));
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn replies_leave_before_the_answer_to_a_violation_or_an_end_in_the_same_read() {
    for shape in SHAPES {
        let (mut peer, _reports) = open(shape, Config::default(), echo).await;
        peer.send([text("a"), client_frame(0x83, "reserved opcode")].concat())
            .await;
        assert_eq!(peer.frame().await, Frame::text("a"));
        assert_eq!(peer.frame().await.code(), Some(1002));

        let (mut peer, _reports) = open(shape, Config::default(), echo).await;
        peer.send(text("a")).await;
        peer.finish().await;
        assert_eq!(peer.rest().await, [Frame::text("a")]);
    }
}

/// Replies with 40 KiB to every message.
async fn amplify(mut socket: WebSocket) -> Result<(), Error> {
    while let Some(message) = socket.recv().await? {
        let payload = message.as_bytes().repeat(40 << 10);
        socket.send(payload).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn large_replies_leave_before_the_answer_to_a_close_in_the_same_read() {
    for shape in SHAPES {
        let (mut peer, reports) = open(shape, Config::default(), amplify).await;
        let messages = ["1", "2", "3", "4", "5"];
        let mut bytes = messages.map(text).concat();
        bytes.extend(close(1000, ""));
        peer.send(bytes).await;
        for message in messages {
            let expected = Frame::binary(message.repeat(40 << 10));
            assert_eq!(peer.frame().await, expected);
        }
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.finish().await;
        assert_eq!(reports.only().await.messages_sent, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_leaves_before_the_close() {
    for shape in SHAPES {
        let config = Config::default().max_send_queue(512 << 10);
        let (mut peer, socket, reports) = hold(shape, config).await;
        let mut sent = 0_u32;
        while socket.try_send(vec![sent as u8; 5000]).is_ok() {
            sent += 1;
        }
        socket.close(CloseCode::GOING_AWAY);
        for expected in 0..sent {
            assert_eq!(peer.frame().await, Frame::binary([expected as u8; 5000]));
        }
        assert_eq!(peer.frame().await.code(), Some(1001));
        peer.send(close(1001, "")).await;
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
        drop(socket);
        assert!(reports.only().await.clean);
    }
}

#[tokio::test(start_paused = true)]
async fn replies_leave_before_a_close_that_comes_while_the_handler_yields() {
    for shape in SHAPES {
        let closes = Arc::new(Notify::new());
        let now = closes.clone();
        let (mut peer, _reports) = open(shape, Config::default(), move |mut socket: WebSocket| {
            let now = now.clone();
            async move {
                socket.recv().await?;
                // In a turn that finds nothing to read, and so polls once.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                socket.send(vec![1; 100_000]).await?;
                now.notify_one();
                // The queue is past 64 KiB: this lets the session write first, and read.
                socket.send("answer").await?;
                Ok::<_, Error>(())
            }
        })
        .await;
        let closing = tokio::spawn(async move {
            peer.send(text("question")).await;
            closes.notified().await;
            peer.send(close(1000, "")).await;
            peer
        });
        let mut peer = within(closing).await.expect("the peer goes on");
        assert_eq!(peer.frame().await, Frame::binary(vec![1; 100_000]));
        assert_eq!(peer.frame().await, Frame::text("answer"));
        assert_eq!(peer.frame().await.code(), Some(1000));
    }
}

#[tokio::test(start_paused = true)]
async fn large_replies_leave_before_a_close_that_followed_the_question() {
    for (replies, size) in [(10, 1000), (3, 70_000), (10, 70_000)] {
        for shape in SHAPES {
            let route = move |mut socket: WebSocket| async move {
                while socket.recv().await?.is_some() {
                    for _ in 0..replies {
                        socket.send(vec![7; size]).await?;
                    }
                }
                Ok::<_, Error>(())
            };
            let (mut peer, _reports) = open(shape, Config::default(), route).await;
            peer.send([text("question"), close(1000, "")].concat())
                .await;
            for _ in 0..replies {
                assert_eq!(peer.frame().await, Frame::binary(vec![7; size]));
            }
            assert_eq!(peer.frame().await.code(), Some(1000));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_only_sends_does_not_hold_the_peers_close_back() {
    for shape in SHAPES {
        // Sends in every single poll, as fast as it is polled.
        let route = |socket: WebSocket| {
            poll_fn(move |cx| {
                if socket.try_send("tick").is_err() {
                    return Poll::Ready(Ok::<_, Error>(()));
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            })
        };
        let (mut peer, mut reports) = open(shape, Config::default(), route).await;
        peer.send(close(1000, "")).await;
        let mut frames = 0;
        while !peer.frame().await.is_close() {
            frames += 1;
            assert!(frames < 10_000, "the Close is not answered");
        }
        peer.finish().await;
        assert!(reports.first().await.clean);
    }
}

/// Echoes in a task of its own; the handler has returned.
async fn echo_elsewhere(mut socket: WebSocket) -> Result<(), Error> {
    tokio::spawn(async move {
        while let Ok(Some(message)) = socket.recv().await {
            // Whoever thinks in between has not come back for more.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            let _closed = socket.send(message).await;
        }
    });
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn replies_of_another_task_leave_before_the_answer_to_a_close_or_a_violation() {
    for (last, code) in [
        (close(1000, ""), 1000),
        (client_frame(0x83, "reserved opcode"), 1002),
    ] {
        for shape in SHAPES {
            let (mut peer, _reports) = open(shape, Config::default(), echo_elsewhere).await;
            let start = Instant::now();
            // It waits in `recv` when the next one comes.
            peer.send(text("first")).await;
            assert_eq!(peer.frame().await, Frame::text("first"));
            peer.send([text("a"), text("b"), last.clone()].concat())
                .await;
            assert_eq!(peer.frame().await, Frame::text("a"));
            assert_eq!(peer.frame().await, Frame::text("b"));
            assert_eq!(peer.frame().await.code(), Some(code));
            assert_eq!(start.elapsed(), Duration::ZERO, "nothing is waited for");

            // The end comes while the reply is made.
            let (mut peer, _reports) = open(shape, Config::default(), echo_elsewhere).await;
            peer.send(text("first")).await;
            assert_eq!(peer.frame().await, Frame::text("first"));
            peer.send(text("a")).await;
            tokio::task::yield_now().await;
            peer.send(last.clone()).await;
            assert_eq!(peer.frame().await, Frame::text("a"));
            assert_eq!(peer.frame().await.code(), Some(code));

            // It has never waited for a message: the first was there.
            let (mut peer, _reports) = open(shape, Config::default(), echo_elsewhere).await;
            peer.send(text("a")).await;
            tokio::task::yield_now().await;
            peer.send(last.clone()).await;
            assert_eq!(peer.frame().await, Frame::text("a"));
            assert_eq!(peer.frame().await.code(), Some(code));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_does_not_come_back_does_not_hold_the_end_back() {
    for shape in SHAPES {
        let (mut peer, mut socket, _reports) = hold(shape, Config::default()).await;
        let receiving = tokio::spawn(async move {
            let first = socket.recv().await;
            (first, socket)
        });
        tokio::task::yield_now().await;
        let start = Instant::now();
        peer.send([text("a"), text("b"), close(1000, "")].concat())
            .await;
        assert_eq!(peer.frame().await.code(), Some(1000));
        assert!(
            start.elapsed() <= Duration::from_millis(20),
            "{:?}",
            start.elapsed()
        );
        let (first, mut socket) = within(receiving).await.expect("a receiver");
        assert_eq!(first.expect("a message"), Some("a".into()));
        assert_eq!(
            within(socket.recv()).await.expect("a message"),
            Some("b".into())
        );
        assert_eq!(within(socket.recv()).await.expect("an end"), None);
    }
}
