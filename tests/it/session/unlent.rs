//! What a handler is not lent, though it lies beside what it is: what breaks a rule, and what would leave or
//! come out of its place.

use futures_util::FutureExt;
use tokio::{io::AsyncWriteExt, sync::mpsc, task::yield_now};
use tower_websocket::{CloseCode, Config, Error, MessageKind, WebSocket};

use super::support::{
    Frame, PIPE, SHAPES, binary, client_frame, close, echo, idle, open, text, within,
};

/// A frame whose payload is what was not masked, once it is unmasked twice.
fn masked_by_high_bits(first: u8, len: u8) -> Vec<u8> {
    let mut frame = match len {
        0..126 => vec![first, 0x80 | len],
        _ => vec![first, 0x80 | 126, 0, len],
    };
    frame.extend([0x80; 4]);
    frame.resize(frame.len() + usize::from(len), b'x');
    frame
}

#[tokio::test(start_paused = true)]
async fn what_breaks_a_rule_behind_a_message_of_the_same_read_is_found() {
    let long = [b'x'; 200];
    let unmasked = |len: u8| [&[0x82, 126, 0, len], &long[..len.into()]].concat();
    let cases = [
        (client_frame(0xc1, "short"), 1002),
        (client_frame(0xc1, long), 1002),
        (client_frame(0xa2, long), 1002),
        (client_frame(0x83, long), 1002),
        (unmasked(200), 1002),
        (b"\x82\x05short".to_vec(), 1002),
        (masked_by_high_bits(0x81, 20), 1007),
        (masked_by_high_bits(0x81, 200), 1007),
        (binary([1; 1001]), 1009),
        ([client_frame(0x01, "begun"), text("other")].concat(), 1002),
    ];
    for shape in SHAPES {
        for (bad, code) in &cases {
            let config = Config::default().max_message_size(1000);
            let (mut peer, _reports) = open(shape, config, echo).await;
            peer.send([text("first"), bad.clone(), text("late")].concat())
                .await;
            assert_eq!(peer.frame().await, Frame::text("first"));
            let start = &bad[..bad.len().min(8)];
            assert_eq!(peer.frame().await.code(), Some(*code), "{start:x?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn message_inside_a_message_of_an_earlier_read_is_1002() {
    for shape in SHAPES {
        for inside in [text("short"), binary([1; 200])] {
            let (mut peer, _reports) = open(shape, Config::default(), echo).await;
            peer.send(client_frame(0x01, "begun")).await;
            idle().await;
            peer.send([inside, client_frame(0x80, "ended")].concat())
                .await;
            assert_eq!(peer.frame().await.code(), Some(1002));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_closed_in_an_earlier_turn_is_closed() {
    for shape in SHAPES {
        let (tell, mut told) = mpsc::unbounded_channel();
        let route = move |mut socket: WebSocket| {
            let tell = tell.clone();
            async move {
                socket.recv().await?;
                socket.close(CloseCode::GOING_AWAY);
                for _ in 0..3 {
                    yield_now().await;
                    let tried = socket.try_send("late").is_ok();
                    let sent = socket.send("late").now_or_never();
                    let sent = tried || !matches!(sent, Some(Err(Error::Closed)));
                    tell.send(Ok(sent)).expect("the test waits");
                }
                let received = socket.recv().await?;
                tell.send(Err(received)).expect("the test waits");
                Ok::<_, Error>(())
            }
        };
        let (mut peer, reports) = open(shape, Config::default(), route).await;
        peer.send(text("go")).await;
        assert_eq!(peer.frame().await.code(), Some(1001));
        idle().await;
        peer.send(text("passed over")).await;
        idle().await;
        peer.send(close(1001, "")).await;
        peer.finish().await;
        assert_eq!(peer.rest().await, []);
        for expected in [Ok(false), Ok(false), Ok(false), Err(None)] {
            assert_eq!(within(told.recv()).await, Some(expected));
        }
        assert_eq!(reports.only().await.messages_sent, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_wait_for_one_that_is_sent_in_pieces_over_several_turns() {
    for shape in SHAPES {
        let route = |mut socket: WebSocket| async move {
            let sender = socket.sender();
            socket.recv().await?;
            let mut writer = sender.send_writer(MessageKind::Text).await?;
            writer.send("be").await?;
            writer.flush().await.expect("it is open");
            socket.recv().await?;
            socket.send("whole").await?;
            socket.try_send("whole, too").expect("there is room");
            socket.recv().await?;
            writer.send("gun").await?;
            writer.finish().await?;
            socket.recv().await.map(drop)
        };
        let (mut peer, _reports) = open(shape, Config::default(), route).await;
        let mut first = Vec::new();
        for _ in 0..3 {
            peer.send(text("go on")).await;
            idle().await;
        }
        loop {
            let frame = peer.frame().await;
            assert_eq!(frame.first & 0xf, u8::from(first.is_empty()));
            first.extend(frame.payload);
            if frame.first & 0x80 != 0 {
                break;
            }
        }
        assert_eq!(first, b"begun");
        assert_eq!(peer.frame().await, Frame::text("whole"));
        assert_eq!(peer.frame().await, Frame::text("whole, too"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_only_sends_queues_no_more_messages_than_it_may() {
    for shape in SHAPES {
        for most in [1, 3] {
            let config = Config::default().max_send_messages(most);
            let route = move |mut socket: WebSocket| async move {
                socket.recv().await?;
                let sent = (0..100).take_while(|_| socket.try_send("short").is_ok());
                let sent = sent.count();
                socket.send(sent.to_string()).await?;
                socket.recv().await.map(drop)
            };
            let (mut peer, _reports) = open(shape, config, route).await;
            peer.send(text("go")).await;
            for _ in 0..most {
                assert_eq!(peer.frame().await, Frame::text("short"));
            }
            assert_eq!(peer.frame().await, Frame::text(&most.to_string()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_while_the_transport_takes_nothing_leaves_in_its_order() {
    for shape in SHAPES {
        let route = |mut socket: WebSocket| async move {
            while let Some(message) = socket.recv().await? {
                let number = message.len() as u8;
                // All but a few bytes of the first one leave.
                let len = if number == 1 { PIPE } else { 100 };
                socket.try_send(vec![number; len]).expect("there is room");
            }
            Ok::<_, Error>(())
        };
        let (mut peer, _reports) = open(shape, Config::default(), route).await;
        for number in 1..8 {
            peer.send(binary(vec![0; number])).await;
            idle().await;
        }
        assert_eq!(peer.frame().await, Frame::binary([1; PIPE]));
        for number in 2..8 {
            assert_eq!(peer.frame().await, Frame::binary([number; 100]));
        }
    }
}
