//! The halves of a stream of bytes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_websocket::{Config, testing};

use super::{expect_eof, noise};
use crate::session::support::{Frame, SHAPES, binary, close, hold, idle, within};

#[tokio::test(start_paused = true)]
async fn halves_work_in_tasks_of_their_own_and_can_be_joined() {
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let (mut reader, mut writer) = socket.into_byte_stream().into_split();
        let reading = tokio::spawn(async move {
            let mut bytes = [0; 2];
            reader.read_exact(&mut bytes).await.unwrap();
            assert_eq!(bytes, *b"in");
            reader
        });
        within(writer.write_all(b"out")).await.unwrap();
        assert_eq!(peer.frame().await, Frame::binary("out"));
        peer.send(binary("in, joined")).await;
        let reader = within(reading).await.unwrap();
        let mut stream = reader.reunite(writer).expect("of one connection");
        let rest = super::read(&mut stream, 8).await;
        assert_eq!(rest, b", joined", "what was left of the message");
        peer.send(close(1000, "")).await;
        expect_eof(&mut stream).await;
    }
}

#[tokio::test]
async fn halves_of_different_connections_are_not_joined() {
    let (one, other) = testing::pair(Config::default());
    let (reader, mut writer) = one.into_byte_stream().into_split();
    let (mut other_reader, other_writer) = other.into_byte_stream().into_split();
    let error = reader.reunite(other_writer).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the two halves are of different connections"
    );
    within(writer.write_all(b"x")).await.unwrap();
    assert_eq!(within(other_reader.read_u8()).await.unwrap(), b'x');
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_when_both_halves_are_gone() {
    for shape in SHAPES {
        for reader_first in [true, false] {
            let (mut peer, socket, mut reports) = hold(shape, Config::default()).await;
            let (reader, mut writer) = socket.into_byte_stream().into_split();
            within(writer.write_all(b"out")).await.unwrap();
            let left: Box<dyn Send> = if reader_first {
                drop(reader);
                // More than is read ahead: it is discarded, and does not stand in the way.
                peer.send(binary(noise(500_000)).repeat(2)).await;
                within(writer.write_all(b"more")).await.unwrap();
                Box::new(writer)
            } else {
                drop(writer);
                Box::new(reader)
            };
            assert_eq!(peer.frame().await, Frame::binary("out"));
            if reader_first {
                assert_eq!(peer.frame().await, Frame::binary("more"));
            }
            idle().await;
            assert!(reports.none_yet(), "a half is left");
            drop(left);
            assert_eq!(peer.frame().await.code(), Some(1000));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_shut_down_ends_the_reader() {
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let (mut reader, mut writer) = socket.into_byte_stream().into_split();
        let reading = tokio::spawn(async move { reader.read(&mut [0]).await });
        idle().await;
        let shutting = tokio::spawn(async move { writer.shutdown().await });
        assert_eq!(peer.frame().await.code(), Some(1000));
        peer.send(close(1000, "")).await;
        peer.finish().await;
        within(shutting).await.unwrap().unwrap();
        assert_eq!(within(reading).await.unwrap().unwrap(), 0);
    }
}
