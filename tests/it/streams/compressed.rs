//! Streamed messages on connections with compression.

use std::{io, pin::pin};

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tower_websocket::{
    Compression, Config, Error, Message, MessageKind, PreparedMessage, ProtocolError, testing,
};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

use super::{begin, chunk, next, rest, streaming};
use crate::session::support::{
    Frame, PIPE, Peer, SHAPES, client_frame, close, hold_compressed as hold, hold_over, idle, once,
    ping, text, within,
};

fn shared() -> Config {
    streaming().compression(Compression::shared())
}

fn dedicated() -> Config {
    streaming().compression(Compression::dedicated())
}

const MODES: [fn() -> Config; 2] = [shared, dedicated];

/// The far end's compressor, or decompressor, which remembers what went before.
struct Far {
    deflate: Deflate,
    inflate: Inflate,
    takeover: bool,
}

impl Far {
    fn new(config: &Config) -> Self {
        Self {
            deflate: Deflate::new(6, false, 15),
            inflate: Inflate::new(false, 15),
            takeover: format!("{config:?}").contains("context_takeover: true"),
        }
    }

    fn deflated(&mut self, payload: &[u8]) -> Vec<u8> {
        if !self.takeover {
            self.deflate = Deflate::new(6, false, 15);
        }
        let before = self.deflate.total_out();
        let mut output = vec![0; payload.len() + 1000];
        self.deflate
            .compress(payload, &mut output, DeflateFlush::SyncFlush)
            .expect("there is room");
        output.truncate((self.deflate.total_out() - before) as usize);
        assert!(output.ends_with(b"\x00\x00\xff\xff"));
        output.truncate(output.len() - 4);
        output
    }

    fn inflated(&mut self, payload: Vec<u8>) -> Vec<u8> {
        self.inflate_on(payload, true)
    }

    /// Decompresses a part of a message, which is its `first` one or a later one.
    fn inflate_on(&mut self, mut payload: Vec<u8>, first: bool) -> Vec<u8> {
        if first && !self.takeover {
            self.inflate = Inflate::new(false, 15);
        }
        payload.extend(b"\x00\x00\xff\xff");
        let (mut output, mut input) = (vec![], &payload[..]);
        loop {
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            let mut buffer = vec![0; 64 << 10];
            self.inflate
                .decompress(input, &mut buffer, InflateFlush::SyncFlush)
                .expect("it is DEFLATE");
            let given = (self.inflate.total_out() - given) as usize;
            input = &input[(self.inflate.total_in() - taken) as usize..];
            output.extend(&buffer[..given]);
            if given < buffer.len() {
                assert!(input.is_empty());
                return output;
            }
        }
    }

    /// Receives one data message: its first byte, and its payload.
    async fn message(&mut self, peer: &mut Peer) -> (u8, Vec<u8>) {
        let frames = message(peer).await;
        let first = frames[0].first;
        let payload = frames.into_iter().flat_map(|frame| frame.payload).collect();
        let payload = if first & 0x40 == 0 {
            payload
        } else {
            self.inflated(payload)
        };
        (first & 0x4f, payload)
    }
}

/// Receives the frames of one message.
async fn message(peer: &mut Peer) -> Vec<Frame> {
    let mut frames: Vec<Frame> = vec![];
    loop {
        let frame = peer.frame().await;
        assert_eq!(frame.first & 0x0f == 0, !frames.is_empty(), "{frame:?}");
        // RFC 7692 §6: only the first frame says that it is compressed.
        assert!(frame.first & 0x40 == 0 || frames.is_empty(), "{frame:?}");
        let fin = frame.first & 0x80 != 0;
        frames.push(frame);
        if fin {
            return frames;
        }
    }
}

/// Bytes that do not become less.
fn noise(len: usize) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let number = |_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as u8
    };
    (0..len).map(number).collect()
}

/// Text that becomes much less.
fn lines(len: usize) -> Vec<u8> {
    let lines = (0..len / 8 + 1).map(|number| format!("line {number}\n"));
    let mut lines = lines.collect::<String>().into_bytes();
    lines.truncate(len);
    lines
}

#[tokio::test(start_paused = true)]
async fn a_message_is_compressed_on_the_way() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, socket) = hold(shape, mode()).await;
            let mut far = Far::new(&mode());
            for payload in [
                lines(100_000),
                noise(100_000),
                vec![],
                lines(3),
                vec![0; 300_000],
            ] {
                let mut writer = begin(&socket, MessageKind::Binary).await;
                let writing = async {
                    for piece in payload.chunks(7000) {
                        writer.write_all(piece).await.unwrap();
                    }
                    writer.finish().await.unwrap();
                };
                let ((first, received), ()) = tokio::join!(far.message(&mut peer), writing);
                let expected = if payload.is_empty() { 0x02 } else { 0x42 };
                assert_eq!(first, expected);
                assert!(received == payload, "{} bytes", payload.len());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_shows_the_peer_all_that_was_written() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, socket) = hold(shape, mode()).await;
            let mut far = Far::new(&mode());
            for _ in 0..3 {
                let mut writer = begin(&socket, MessageKind::Text).await;
                writer.flush().await.unwrap();
                for (number, piece) in ["one ", "two ", "three "].into_iter().enumerate() {
                    writer.write_all(piece.as_bytes()).await.unwrap();
                    writer.flush().await.unwrap();
                    writer.flush().await.unwrap();
                    let mut frame = peer.frame().await;
                    assert_eq!(frame.first, if number == 0 { 0x41 } else { 0x00 });
                    let len = frame.payload.len();
                    assert_eq!(frame.payload.split_off(len - 4), b"\x00\x00\xff\xff");
                    assert_eq!(far.inflate_on(frame.payload, number == 0), piece.as_bytes());
                }
                writer.finish().await.unwrap();
                let frame = peer.frame().await;
                assert_eq!(frame.first, 0x80);
                assert_eq!(far.inflate_on(frame.payload, false), b"");
            }
            // What comes afterwards refers to the right things.
            socket
                .send(Message::text("one two three ".repeat(100)))
                .await
                .unwrap();
            let (_, received) = far.message(&mut peer).await;
            assert_eq!(received, b"one two three ".repeat(100));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_fragments_are_no_larger_than_the_chosen_size() {
    for shape in SHAPES {
        for mode in MODES {
            for size in [1, 100, 5000] {
                let config = mode().fragment_size(size);
                let (mut peer, socket) = hold(shape, config).await;
                let mut far = Far::new(&mode());
                let payload = if size == 1 {
                    noise(3000)
                } else {
                    noise(50_000)
                };
                let writing = async {
                    let mut writer = begin(&socket, MessageKind::Binary).await;
                    writer.write_all(&payload).await.unwrap();
                    writer.flush().await.unwrap();
                    writer.write_all(&payload).await.unwrap();
                    writer.finish().await.unwrap();
                };
                let (frames, ()) = tokio::join!(message(&mut peer), writing);
                let largest = frames.iter().map(|frame| frame.payload.len()).max();
                assert_eq!(largest, Some(size));
                let compressed = frames.into_iter().flat_map(|frame| frame.payload);
                let received = far.inflated(compressed.collect());
                assert!(received == payload.repeat(2));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_are_compressed_behind_what_is_written() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, socket) = hold(shape, mode()).await;
            let mut far = Far::new(&mode());
            let mut writer = begin(&socket, MessageKind::Binary).await;
            writer.write_all(b"before ").await.unwrap();
            writer.send(lines(9000)).await.unwrap();
            writer.send("").await.unwrap();
            writer.write_all(b" after").await.unwrap();
            writer.finish().await.unwrap();
            let (first, received) = far.message(&mut peer).await;
            assert_eq!(first, 0x42);
            assert_eq!(received, [b"before ", &lines(9000)[..], b" after"].concat());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn other_messages_meanwhile_are_left_as_they_are_with_context_takeover() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, socket) = hold(shape, mode()).await;
            let mut far = Far::new(&mode());
            let other = || Message::binary(lines(2000));
            let prepared = PreparedMessage::new(other());
            socket.send(other()).await.unwrap();
            let mut writer = begin(&socket, MessageKind::Binary).await;
            for number in 0..5 {
                writer.write_all(&lines(30_000)).await.unwrap();
                socket.send(other()).await.unwrap();
                socket.try_send(&prepared).unwrap();
                if number == 3 {
                    writer.flush().await.unwrap();
                }
            }
            writer.finish().await.unwrap();
            socket.send(other()).await.unwrap();
            socket.try_send(&prepared).unwrap();
            socket.send(other()).await.unwrap();

            assert_eq!(far.message(&mut peer).await, (0x42, lines(2000)));
            let (first, received) = far.message(&mut peer).await;
            assert!(first == 0x42 && received == lines(30_000).repeat(5));
            for _ in 0..10 {
                let (first, received) = far.message(&mut peer).await;
                assert_eq!(first, if far.takeover { 0x02 } else { 0x42 });
                assert!(received == lines(2000));
            }
            for _ in 0..3 {
                assert_eq!(far.message(&mut peer).await, (0x42, lines(2000)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn writers_after_each_other_and_plain_messages_share_the_context() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, socket) = hold(shape, mode()).await;
            let mut far = Far::new(&mode());
            let payload = noise(3000);
            let mut sizes = vec![];
            for round in 0..6 {
                if round % 3 == 2 {
                    socket.send(Message::binary(payload.clone())).await.unwrap();
                } else {
                    let mut writer = begin(&socket, MessageKind::Binary).await;
                    writer.write_all(&payload).await.unwrap();
                    writer.finish().await.unwrap();
                }
                let frames = message(&mut peer).await;
                let compressed: Vec<u8> = frames
                    .iter()
                    .flat_map(|frame| frame.payload.clone())
                    .collect();
                sizes.push(compressed.len());
                if frames[0].first & 0x40 == 0 {
                    assert_eq!(compressed, payload);
                } else {
                    assert_eq!(far.inflated(compressed), payload);
                }
            }
            let less = sizes[1..].iter().all(|size| *size < 200);
            assert_eq!(less, far.takeover, "{sizes:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_dropped_before_anything_left_gives_the_context_back() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, socket) = hold(shape, mode()).await;
            let mut far = Far::new(&mode());
            for _ in 0..3 {
                socket.send(Message::binary(lines(2000))).await.unwrap();
                let mut writer = begin(&socket, MessageKind::Binary).await;
                writer.write_all(&noise(1000)).await.unwrap();
                drop(writer);
                socket.send(Message::binary(lines(2000))).await.unwrap();
                for _ in 0..2 {
                    assert_eq!(far.message(&mut peer).await, (0x42, lines(2000)));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_can_leave_its_message_as_it_is() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, socket) = hold(shape, mode()).await;
            let mut far = Far::new(&mode());
            socket.send(Message::binary(lines(2000))).await.unwrap();
            let mut writer = begin(&socket, MessageKind::Binary).await.uncompressed();
            writer.write_all(&lines(2000)).await.unwrap();
            // Others are compressed meanwhile.
            socket.send(Message::binary(lines(3000))).await.unwrap();
            writer.finish().await.unwrap();
            assert_eq!(far.message(&mut peer).await, (0x42, lines(2000)));
            assert_eq!(far.message(&mut peer).await, (0x02, lines(2000)));
            assert_eq!(far.message(&mut peer).await, (0x42, lines(3000)));

            // It is too late once something was written.
            let mut writer = begin(&socket, MessageKind::Binary).await;
            writer.write_all(&lines(2000)).await.unwrap();
            let mut writer = writer.uncompressed();
            writer.write_all(&lines(2000)).await.unwrap();
            writer.finish().await.unwrap();
            assert_eq!(far.message(&mut peer).await, (0x42, lines(2000).repeat(2)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressed_writer_that_is_dropped_half_way_closes_with_1011() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, socket) = hold(shape, mode()).await;
            let mut writer = begin(&socket, MessageKind::Text).await;
            writer.write_all(b"some").await.unwrap();
            writer.flush().await.unwrap();
            socket.send(Message::binary(lines(3000))).await.unwrap();
            drop(writer);
            assert_eq!(peer.frame().await.first, 0x41);
            assert_eq!(peer.frame().await.code(), Some(1011));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_compressed_message_cut_anywhere_is_the_same_message() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, mut socket) = hold(shape, mode()).await;
            let mut far = Far::new(&mode());
            let payload = "κόσμε, ".repeat(30).into_bytes();
            let len = far.deflated(&payload).len();
            let mut far = Far::new(&mode());
            for whole in [false, true] {
                for cut in 0..len {
                    let compressed = far.deflated(&payload);
                    let (a, b) = compressed.split_at(cut.min(compressed.len()));
                    let frames = [
                        client_frame(0x41, a),
                        client_frame(0x00, ""),
                        ping("p"),
                        client_frame(0x80, b),
                    ];
                    peer.send(frames[..2].concat()).await;
                    idle().await;
                    peer.send(frames[2..].concat()).await;
                    let received = if whole {
                        let message = within(socket.recv()).await.unwrap();
                        message.unwrap().as_bytes().to_vec()
                    } else {
                        rest(&mut next(&mut socket).await).await
                    };
                    assert_eq!(received, payload, "cut at {cut}");
                    assert_eq!(peer.frame().await, Frame::pong("p"));
                }
            }
        }
    }
}

/// Sizes about what is decompressed in one piece.
const SIZES: [usize; 12] = [
    65_000, 65_535, 65_536, 65_537, 65_700, 65_793, 65_794, 66_000, 131_071, 131_072, 131_073,
    400_000,
];

#[tokio::test(start_paused = true)]
async fn the_last_piece_is_delivered_though_reading_had_stopped_before_it() {
    for shape in SHAPES {
        for mode in MODES {
            for read_ahead in [1, 64 << 10, 1 << 20] {
                for size in SIZES.into_iter().chain(66_000..66_040) {
                    let (mut peer, mut socket) =
                        hold(shape, mode().max_read_ahead(read_ahead)).await;
                    let mut far = Far::new(&mode());
                    let compressed = far.deflated(&vec![0; size]);
                    peer.send(client_frame(0xc2, compressed)).await;
                    // All of it has come, and reading has stopped.
                    idle().await;
                    let received = rest(&mut next(&mut socket).await).await;
                    assert_eq!(received.len(), size, "{read_ahead}");
                    assert!(received.iter().all(|byte| *byte == 0));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_end_of_the_stream_is_delivered() {
    for shape in SHAPES {
        for size in SIZES {
            let (mut peer, mut socket) = hold(shape, shared().max_read_ahead(1)).await;
            let mut far = Far::new(&shared());
            peer.send(client_frame(0xc2, far.deflated(&vec![0; size])))
                .await;
            peer.finish().await;
            idle().await;
            assert_eq!(rest(&mut next(&mut socket).await).await.len(), size);
            let error = within(socket.recv()).await.expect_err("no Close came");
            assert!(error.is_disconnect());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_dropped_in_a_compressed_message_leaves_the_next_one_right() {
    for shape in SHAPES {
        for mode in MODES {
            for read_ahead in [1, 64 << 10] {
                let (mut peer, mut socket) = hold(shape, mode().max_read_ahead(read_ahead)).await;
                let mut far = Far::new(&mode());
                let payload = [lines(100_000), vec![0; 200_000], noise(20_000)].concat();
                for cut in [1000, 10_000, 30_000] {
                    let compressed = far.deflated(&payload);
                    let (a, b) = compressed.split_at(cut);
                    peer.send(client_frame(0x42, a)).await;
                    let mut reader = next(&mut socket).await;
                    assert!(payload.starts_with(&chunk(&mut reader).await));
                    idle().await;
                    drop(reader);
                    peer.send(client_frame(0x80, b)).await;
                    let compressed = far.deflated(&payload);
                    peer.send(client_frame(0xc2, compressed)).await;
                    let message = within(socket.recv()).await.unwrap();
                    assert!(message.unwrap().as_bytes() == payload);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn max_stream_size_holds_for_what_is_decompressed() {
    for shape in SHAPES {
        for (limit, size) in [
            (1000, 1000),
            (1000, 1001),
            (65_536, 65_536),
            (65_536, 65_537),
        ] {
            let (mut peer, mut socket) = hold(shape, shared().max_stream_size(limit)).await;
            let mut far = Far::new(&shared());
            let compressed = far.deflated(&vec![0; size]);
            peer.send(client_frame(0xc2, compressed)).await;
            let mut read = vec![];
            let result = match within(socket.recv_reader()).await {
                Ok(reader) => within(reader.unwrap().read_to_end(&mut read)).await,
                Err(error) => Err(error.into()),
            };
            if size as u64 == limit {
                assert_eq!(result.unwrap(), size);
                peer.send(text("next")).await;
                assert_eq!(within(socket.recv()).await.unwrap(), Some("next".into()));
            } else {
                let error = result.expect_err("it is too large");
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert_eq!(peer.frame().await.code(), Some(1009));
                assert_eq!(within(socket.recv()).await.unwrap(), None);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn recv_refuses_what_is_too_large_when_it_is_decompressed() {
    for shape in SHAPES {
        for (limit, size) in [(1000, 1001), (65_536, 65_537), (1 << 20, 64 << 20)] {
            for early in [false, true] {
                let config = shared()
                    .max_message_size(limit)
                    .close_timeout(std::time::Duration::ZERO);
                let (mut peer, mut socket) = hold(shape, config).await;
                let mut far = Far::new(&shared());
                let compressed = far.deflated(&vec![0; size]);
                let (a, b) = compressed.split_at(compressed.len() / 2);
                if early {
                    assert!(once(pin!(socket.recv())).await.is_pending());
                }
                peer.send(client_frame(0x42, a)).await;
                peer.send(client_frame(0x80, b)).await;
                peer.send(text("never received")).await;
                let error = within(socket.recv()).await.expect_err("it is too large");
                assert!(
                    matches!(
                        error,
                        Error::Protocol(ProtocolError::MessageTooBig { limit: said, .. })
                            if said == limit as u64
                    ),
                    "{error:?}"
                );
                assert_eq!(peer.frame().await.code(), Some(1009));
                assert_eq!(within(socket.recv()).await.unwrap(), None);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_text_is_found_when_it_is_decompressed() {
    for shape in SHAPES {
        for mode in MODES {
            let (mut peer, mut socket) = hold(shape, mode()).await;
            let mut far = Far::new(&mode());
            let payload = [lines(100_000), b"\xff".to_vec(), lines(100)].concat();
            peer.send(client_frame(0xc1, far.deflated(&payload))).await;
            let mut reader = next(&mut socket).await;
            let mut read = vec![];
            let error = within(reader.read_to_end(&mut read)).await;
            assert_eq!(
                error.expect_err("it is no text").kind(),
                io::ErrorKind::InvalidData
            );
            assert!(payload.starts_with(&read) && !read.is_empty());
            assert_eq!(peer.frame().await.code(), Some(1007));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn both_ends_stream_to_each_other() {
    for compression in [Compression::shared(), Compression::dedicated()] {
        let config = streaming().compression(compression);
        let (client, mut server) = testing::pair(config);
        let serving = tokio::spawn(async move {
            let sender = server.sender();
            while let Some(mut reader) = server.recv_reader().await.unwrap() {
                let mut writer = sender.send_writer(reader.kind()).await.unwrap();
                tokio::io::copy_buf(&mut reader, &mut writer).await.unwrap();
                writer.finish().await.unwrap();
            }
        });
        let (sender, mut receiver) = client.split();
        for payload in [lines(500_000), noise(200_000), vec![], vec![0; 3_000_000]] {
            let writing = async {
                let mut writer = sender.send_writer(MessageKind::Binary).await.unwrap();
                writer.write_all(&payload).await.unwrap();
                writer.finish().await.unwrap();
            };
            let reading = async {
                let mut reader = receiver.recv_reader().await.unwrap().unwrap();
                rest(&mut reader).await
            };
            let (received, ()) = within(async { tokio::join!(reading, writing) }).await;
            assert!(received == payload);
        }
        sender.close(tower_websocket::CloseCode::NORMAL);
        within(serving).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_inside_a_compressed_message_ends_its_reader() {
    for shape in SHAPES {
        let (mut peer, mut socket) = hold(shape, dedicated()).await;
        let mut far = Far::new(&dedicated());
        let compressed = far.deflated(&noise(10_000));
        peer.send(client_frame(0x42, &compressed[..5000])).await;
        let mut reader = next(&mut socket).await;
        peer.send(close(1000, "")).await;
        let mut read = vec![];
        let error = within(reader.read_to_end(&mut read)).await;
        assert_eq!(
            error.expect_err("not over").kind(),
            io::ErrorKind::UnexpectedEof
        );
        assert!(noise(10_000).starts_with(&read));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_compressed_where_it_was_not_agreed_on() {
    for shape in SHAPES {
        let (ours, theirs) = duplex(PIPE);
        let (socket, _reports) = hold_over(shape, dedicated(), theirs).await;
        let mut writer = begin(&socket, MessageKind::Binary).await;
        writer.write_all(&lines(2000)).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(Peer::new(ours).frame().await, Frame::binary(lines(2000)));
    }
}

/// A message of two DEFLATE streams, the first of which ends with a final block (RFC 7692
/// §7.2.3.4) and is what the second refers to.
fn with_final_block(first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut payload = vec![];
    for (input, before, flush) in [
        (first, &b""[..], DeflateFlush::Finish),
        (
            second,
            &first[first.len() - 32_000..],
            DeflateFlush::SyncFlush,
        ),
    ] {
        let mut deflate = Deflate::new(6, false, 15);
        if !before.is_empty() {
            deflate.set_dictionary(before).expect("a raw stream");
        }
        let mut output = vec![0; input.len() + 1000];
        deflate
            .compress(input, &mut output, flush)
            .expect("there is room");
        payload.extend(&output[..deflate.total_out() as usize]);
    }
    assert!(payload.ends_with(b"\x00\x00\xff\xff"));
    payload.truncate(payload.len() - 4);
    payload
}

#[tokio::test(start_paused = true)]
async fn a_block_behind_a_final_one_refers_to_what_was_given_away() {
    for shape in SHAPES {
        for mode in MODES {
            for size in [40_000, 65_536, 100_000, 131_072] {
                let (mut peer, mut socket) = hold(shape, mode().max_read_ahead(1)).await;
                let first = noise(size);
                let second = &first[size - 20_000..];
                let compressed = with_final_block(&first, second);
                assert!(compressed.len() < size + 1000, "it refers");
                let sending = peer.send(client_frame(0xc2, &compressed));
                let reading = async { rest(&mut next(&mut socket).await).await };
                let (received, ()) = tokio::join!(reading, sending);
                assert!(received == [&first, second].concat());
            }
        }
    }
}
