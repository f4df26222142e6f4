//! What is read: the payload of messages, wherever they begin and end.

use std::{future::poll_fn, pin::Pin, pin::pin, task::Poll};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tower_websocket::{Config, Error, session::ByteStream};

use super::{expect_eof, noise, read};
use crate::{
    session::support::{
        Frame, Peer, SHAPES, binary, client_frame, client_header, close, hold, idle, ping, text,
        within,
    },
    support::poll_times,
};

fn settings() -> [Config; 2] {
    [Config::default(), Config::default().streaming(true)]
}

/// Messages of every kind, as the client's bytes; and what they say.
fn conversation() -> (Vec<u8>, Vec<u8>) {
    let large = noise(3000);
    let frames = [
        binary("hello, "),
        binary(""),
        ping("are you there"),
        client_frame(0x02, "in "),
        client_frame(0x00, ""),
        ping(""),
        client_frame(0x00, "frag"),
        client_frame(0x80, "ments"),
        client_frame(0x02, ""),
        client_frame(0x80, ""),
        binary(&large),
        binary([0]),
        close(1000, ""),
    ];
    let bytes = [b"hello, in fragments", &large[..], &[0]].concat();
    (frames.concat(), bytes)
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Read(usize),
    Buffer(usize),
}

async fn read_all(stream: &mut ByteStream, way: Way) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        match way {
            Way::Read(size) => {
                let mut buffer = vec![0; size];
                let len = within(stream.read(&mut buffer)).await.unwrap();
                bytes.extend(&buffer[..len]);
                if len == 0 {
                    return bytes;
                }
            }
            Way::Buffer(most) => {
                let there = within(stream.fill_buf()).await.unwrap();
                let len = there.len().min(most);
                bytes.extend(&there[..len]);
                stream.consume(len);
                if len == 0 {
                    return bytes;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_are_those_of_the_messages_however_they_are_cut() {
    let (frames, bytes) = conversation();
    let ways = [
        Way::Read(1),
        Way::Read(100),
        Way::Read(10_000),
        Way::Buffer(1),
        Way::Buffer(10_000),
    ];
    for shape in SHAPES {
        for config in settings() {
            for way in ways {
                for cut in [1, 7, 1000, frames.len()] {
                    let (peer, socket, _) = hold(shape, config.clone()).await;
                    let (mut reader, mut writer) = tokio::io::split(peer.stream);
                    let frames = frames.clone();
                    let sending = tokio::spawn(async move {
                        for piece in frames.chunks(cut) {
                            writer.write_all(piece).await.unwrap();
                        }
                        // What is answered is nobody's concern here.
                        let _read = reader.read_to_end(&mut vec![]).await;
                    });
                    let mut stream = socket.into_byte_stream();
                    let read = read_all(&mut stream, way).await;
                    assert!(read == bytes, "{shape:?} {way:?} {cut}");
                    expect_eof(&mut stream).await;
                    drop(stream);
                    within(sending).await.unwrap();
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn buffer_is_the_whole_message_until_that_is_consumed() {
    let payload = noise(100_000);
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, Config::default()).await;
        let mut stream = socket.into_byte_stream();
        peer.send([binary(&payload), binary("next")].concat()).await;
        let whole = within(stream.fill_buf()).await.unwrap();
        assert!(whole == payload);
        let address = whole.as_ptr().addr();
        stream.consume(60_000);
        let rest = within(stream.fill_buf()).await.unwrap();
        assert_eq!(rest.as_ptr().addr(), address + 60_000, "nothing is copied");
        assert!(rest == &payload[60_000..]);
        stream.consume(40_000);
        assert_eq!(within(stream.fill_buf()).await.unwrap(), b"next");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_received_before_is_read_first() {
    for config in settings() {
        for shape in SHAPES {
            let (mut peer, mut socket, _) = hold(shape, config.clone()).await;
            peer.send([binary("message"), client_frame(0x02, "a, "), ping("p")].concat())
                .await;
            assert_eq!(peer.frame().await, Frame::pong("p"));
            let message = within(socket.recv()).await.unwrap();
            assert_eq!(message, Some(b"message".to_vec().into()));
            // Joined so far, but not whole.
            assert_eq!(poll_times(pin!(socket.recv()), 1).await.map(drop), None);
            peer.send(client_frame(0x80, "b")).await;
            let mut stream = socket.into_byte_stream();
            assert_eq!(read(&mut stream, 4).await, b"a, b");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_all_limits_is_read_as_it_comes() {
    let config = Config::default()
        .streaming(true)
        .max_message_size(1000)
        .max_read_ahead(5000);
    let payload = noise(3 << 20);
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, config.clone()).await;
        let mut stream = socket.into_byte_stream();
        let frame = binary(&payload);
        let (begin, end) = frame.split_at(client_header(0x82, payload.len() as u64).len() + 2000);
        peer.send(begin).await;
        assert!(read(&mut stream, 2000).await == payload[..2000]);
        let reading = async {
            let rest = read(&mut stream, payload.len() - 2000).await;
            assert!(rest == payload[2000..]);
        };
        tokio::join!(peer.send(end), reading);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_whole_or_too_big_without_streaming() {
    let config = Config::default().max_message_size(1000);
    for shape in SHAPES {
        let (mut peer, socket, _) = hold(shape, config.clone()).await;
        let mut stream = socket.into_byte_stream();
        peer.send([binary(vec![1; 1000]), client_header(0x82, 1001)].concat())
            .await;
        assert_eq!(read(&mut stream, 1000).await, [1; 1000]);
        let error = super::expect_error(&mut stream).await;
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert!(matches!(Error::from(error), Error::Protocol(_)));
        assert_eq!(peer.frame().await.code(), Some(1009));
    }
}

#[tokio::test(start_paused = true)]
async fn text_is_1003_unless_it_is_asked_for() {
    for config in settings() {
        for shape in SHAPES {
            let (mut peer, socket, reports) = hold(shape, config.clone()).await;
            let mut stream = socket.into_byte_stream();
            peer.send([binary("bytes"), text("text"), binary("more")].concat())
                .await;
            assert_eq!(read(&mut stream, 5).await, b"bytes");
            let error = super::expect_error(&mut stream).await;
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
            assert_eq!(error.to_string(), "text message in a stream of bytes");
            assert_eq!(peer.frame().await.code(), Some(1003));
            peer.send(close(1003, "")).await;
            drop(stream);
            assert_eq!(reports.only().await.close_code, 1003);

            let (mut peer, socket, _) = hold(shape, config.clone()).await;
            let mut stream = socket.into_byte_stream().accept_text(true);
            peer.send(
                [
                    text("κό"),
                    client_frame(0x01, [0xcf]),
                    client_frame(0x80, [0x83]),
                ]
                .concat(),
            )
            .await;
            assert_eq!(read(&mut stream, 6).await, "κόσ".as_bytes()[..6]);
        }
    }
}

/// How many reads of a byte are ready in one go.
async fn ready_reads(stream: &mut ByteStream) -> usize {
    let mut ready = 0;
    poll_fn(|cx| {
        loop {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            let polled = Pin::new(&mut *stream).poll_read(cx, &mut buffer);
            match polled {
                Poll::Ready(read) => read.unwrap(),
                Poll::Pending => return Poll::Ready(()),
            }
            ready += 1;
        }
    })
    .await;
    ready
}

async fn flood(peer: &mut Peer, message: &[u8], messages: usize) {
    let mut frames = binary(message).repeat(messages);
    frames.extend(binary("x"));
    peer.send(frames).await;
    idle().await;
}

#[tokio::test(start_paused = true)]
async fn who_floods_empty_messages_keeps_nobody_from_its_turn() {
    for config in settings() {
        for shape in SHAPES {
            let (mut peer, socket, _) = hold(shape, config.clone()).await;
            let mut stream = socket.into_byte_stream();
            flood(&mut peer, b"", 320).await;
            let mut byte = [0];
            {
                let mut reading = pin!(stream.read(&mut byte));
                let early = poll_times(reading.as_mut(), 10).await;
                assert!(early.is_none(), "{shape:?}");
                let read = within(reading).await.unwrap();
                assert_eq!(read, 1, "no empty message is taken for the end");
            }
            assert_eq!(byte, *b"x");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_always_has_more_to_read_yields_as_a_socket_does() {
    for config in settings() {
        for shape in SHAPES {
            let (mut peer, socket, _) = hold(shape, config.clone()).await;
            let mut stream = socket.into_byte_stream();
            flood(&mut peer, b"y", 600).await;
            let ready = ready_reads(&mut stream).await;
            assert!((10..200).contains(&ready), "{ready} in one go");
        }
    }
}
