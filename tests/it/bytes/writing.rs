//! What is written: messages, as many as there are writes.

use std::{
    future::poll_fn,
    io::{ErrorKind, IoSlice},
    pin::{Pin, pin},
    task::Poll,
};

use tokio::io::{AsyncWrite, AsyncWriteExt, duplex};
use tower_websocket::{CloseCode, Config, session::ByteStream};

use super::noise;
use crate::session::support::{
    Frame, Peer, Plan, SHAPES, Shape, Wire, close, hold, hold_over, idle, once, within,
};

/// Writes until that waits; returns how much was taken.
async fn fill(stream: &mut ByteStream, piece: &[u8]) -> usize {
    let mut written = 0;
    poll_fn(|cx| {
        loop {
            match Pin::new(&mut *stream).poll_write(cx, piece) {
                Poll::Ready(taken) => written += taken.unwrap(),
                Poll::Pending => return Poll::Ready(written),
            }
        }
    })
    .await
}

/// Writes something; `None` where there is no room for it.
async fn try_write(stream: &mut ByteStream, bytes: &[u8]) -> Option<usize> {
    for _ in 0..2 {
        if let Poll::Ready(taken) = once(pin!(stream.write(bytes))).await {
            return Some(taken.unwrap());
        }
        idle().await;
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_write_is_a_message_and_a_long_one_is_cut() {
    let bytes = noise(150_000);
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        assert_eq!(within(stream.write(b"short")).await.unwrap(), 5);
        assert_eq!(within(stream.write(b"")).await.unwrap(), 0);
        let (written, ()) = tokio::join!(within(stream.write_all(&bytes)), async {
            assert_eq!(peer.frame().await, Frame::binary("short"));
            for piece in bytes.chunks(65_536) {
                assert!(peer.frame().await == Frame::binary(piece));
            }
        });
        written.unwrap();
        let mut stream = stream.max_write(4);
        within(stream.write_all(b"in pieces")).await.unwrap();
        for piece in ["in p", "iece", "s"] {
            assert_eq!(peer.frame().await, Frame::binary(piece));
        }
        let mut stream = stream.max_write(0);
        assert_eq!(within(stream.write(b"xy")).await.unwrap(), 1);
        assert_eq!(peer.frame().await, Frame::binary("x"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_vectored_write_is_one_message() {
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream().max_write(10);
        assert!(stream.is_write_vectored());
        for (parts, expected) in [
            (&["a", "", "bc"][..], "abc"),
            (&["", "0123456789", "more"], "0123456789"),
            (&["01234567", "89more", "more"], "0123456789"),
        ] {
            let slices: Vec<_> = parts
                .iter()
                .map(|part| IoSlice::new(part.as_bytes()))
                .collect();
            let written = within(stream.write_vectored(&slices)).await.unwrap();
            assert_eq!(written, expected.len());
            assert_eq!(peer.frame().await, Frame::binary(expected));
        }
        let nothing = [IoSlice::new(b""); 2];
        assert_eq!(within(stream.write_vectored(&nothing)).await.unwrap(), 0);
        assert_eq!(within(stream.write_vectored(&[])).await.unwrap(), 0);
        within(stream.write_all(b"next")).await.unwrap();
        assert_eq!(peer.frame().await, Frame::binary("next"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_does_not_read_waits_to_be_written() {
    let config = Config::default().max_send_queue(20_000).write_timeout(None);
    for shape in SHAPES {
        let (ours, theirs) = duplex(1000);
        let (socket, _reports) = hold_over(shape, config.clone(), theirs).await;
        let mut peer = Peer::new(ours);
        let mut stream = socket.into_byte_stream();
        let bytes = noise(100_000);
        let mut written = 0;
        while let Some(taken) = try_write(&mut stream, &bytes[written..][..1000]).await {
            written += taken;
        }
        // The queue, and one message more, and what the pipe has taken.
        assert!((20_000..25_000).contains(&written), "{written}");
        let sending = async {
            within(stream.write_all(&bytes[written..])).await.unwrap();
            within(stream.flush()).await.unwrap();
        };
        tokio::join!(sending, async {
            let mut received = vec![];
            while received.len() < bytes.len() {
                received.extend(peer.frame().await.payload);
            }
            assert!(received == bytes);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_the_transport() {
    for shape in SHAPES {
        let (_ours, theirs) = duplex(1000);
        let plan = Plan {
            unwritable: true,
            ..Plan::default()
        };
        let wire = Wire::new(theirs, plan);
        let (socket, _reports) = hold_over(shape, Config::default(), wire).await;
        let mut stream = socket.into_byte_stream();
        within(stream.flush()).await.unwrap();
        within(stream.write_all(b"stuck")).await.unwrap();
        idle().await;
        assert!(once(pin!(stream.flush())).await.is_pending());
        // It has a deadline: then nothing that was written leaves any more.
        let flushed = within(stream.flush()).await.unwrap_err();
        assert_eq!(flushed.kind(), ErrorKind::BrokenPipe);
    }
}

#[tokio::test(start_paused = true)]
async fn who_writes_much_lets_the_session_write_first() {
    for shape in SHAPES {
        let (_peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        let written = fill(&mut stream, &[7; 8192]).await;
        assert_eq!(written, 65_536);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_once_it_closes() {
    let closes: [fn(&ByteStream); 2] = [
        |stream| stream.get_ref().close(CloseCode::GOING_AWAY),
        |_| {},
    ];
    for shape in SHAPES {
        for (ours, begin) in closes.iter().enumerate() {
            let (mut peer, socket, _) = hold(shape, Config::default()).await;
            let mut stream = socket.into_byte_stream();
            begin(&stream);
            if ours == 1 {
                peer.send(close(1000, "")).await;
            }
            assert!(peer.frame().await.is_close());
            let error = within(stream.write(b"late")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            assert!(tower_websocket::Error::from(error).is_closed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_dropped_has_sent_nothing() {
    let config = Config::default().max_send_queue(10).write_timeout(None);
    let (ours, theirs) = duplex(16);
    let (socket, _reports) = hold_over(Shape::H1, config, theirs).await;
    let mut peer = Peer::new(ours);
    let mut stream = socket.into_byte_stream();
    let mut taken = 0;
    while try_write(&mut stream, b"0123456789").await.is_some() {
        taken += 1;
    }
    for _ in 0..taken {
        assert_eq!(peer.frame().await, Frame::binary("0123456789"));
    }
    within(stream.write_all(b"next")).await.unwrap();
    assert_eq!(peer.frame().await, Frame::binary("next"));
}
