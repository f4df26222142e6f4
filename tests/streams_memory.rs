//! What a message that is larger than memory takes of it.
//!
//! A binary of its own: its allocator counts, and nothing else may run meanwhile.

#[path = "memory/rise.rs"]
mod rise;
#[expect(dead_code, reason = "these tests need less of it than the others")]
#[path = "it/session/support.rs"]
mod support;

use bytes::Bytes;
use rise::{Rise, alone};
use support::{Peer, SHAPES, Shape, client_frame, client_header, hold_over, idle, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tower_websocket::{Compression, Config, Error, MessageKind, WebSocket, testing};
use zlib_rs::{Deflate, DeflateFlush};

/// The only test, so that the harness itself has nothing to allocate meanwhile.
#[test]
fn a_streamed_message_takes_the_same_memory_whatever_its_length() {
    a_message_is_sent_and_received_in_constant_memory(None);
    a_message_is_sent_and_received_in_constant_memory(Some(Compression::shared()));
    a_message_is_sent_and_received_in_constant_memory(Some(Compression::dedicated()));
    a_bomb_takes_no_more_than_its_reader_is_behind();
    a_writer_to_a_peer_that_reads_nothing_is_bounded();
    a_thousand_connections_inside_a_huge_frame_cost_next_to_nothing();
}

/// What two ends of a connection may take beside what they hold when idle.
const MOST: usize = 8 << 20;

/// How much is streamed; a build without optimisation takes its time to compress.
const SIZE: usize = if cfg!(debug_assertions) {
    256 << 20
} else {
    1 << 30
};

fn a_message_is_sent_and_received_in_constant_memory(compression: Option<Compression>) {
    alone(async {
        let size = if compression.is_some() {
            SIZE / 4
        } else {
            SIZE
        };
        let config = Config::default().streaming(true).compression(compression);
        let (client, server) = testing::pair(config);
        // Something between noise and nothing.
        let piece: Vec<u8> = (0..64 << 10_u32)
            .map(|number: u32| (number.wrapping_mul(0x9e37_79b9) >> 27) as u8)
            .collect();
        let rise = Rise::begin();
        let (client, server) = stream(client, server, &piece, size).await;
        let _ends = stream(server, client, &piece, size).await;
        let peak = rise.peak();
        assert!(peak < MOST, "{peak} bytes");
    });
}

/// Streams a message from one end to the other.
async fn stream(
    from: WebSocket,
    mut to: WebSocket,
    piece: &[u8],
    size: usize,
) -> (WebSocket, WebSocket) {
    let writing = async {
        let mut writer = from.send_writer(MessageKind::Binary).await?;
        for _ in 0..size / piece.len() {
            writer.write_all(piece).await?;
        }
        writer.finish().await
    };
    let reading = async {
        let mut reader = to.recv_reader().await?.expect("a message");
        let mut read = 0;
        while let Some(chunk) = reader.chunk().await? {
            let start = read % piece.len();
            let len = chunk.len().min(piece.len() - start);
            assert!(chunk[..len] == piece[start..start + len]);
            read += chunk.len();
        }
        Ok::<_, Error>(read)
    };
    let (written, read) = within(async { tokio::join!(writing, reading) }).await;
    written.expect("the peer reads");
    assert_eq!(read.expect("the peer writes"), size);
    (from, to)
}

/// A compressed message of so many zeros.
fn bomb(size: usize) -> Vec<u8> {
    let mut deflate = Deflate::new(9, false, 15);
    let mut output = vec![0; size / 500];
    let zeros = vec![0; 1 << 20];
    for _ in 0..size / zeros.len() {
        let start = deflate.total_out() as usize;
        deflate
            .compress(&zeros, &mut output[start..], DeflateFlush::NoFlush)
            .expect("there is room");
    }
    let start = deflate.total_out() as usize;
    deflate
        .compress(&[], &mut output[start..], DeflateFlush::SyncFlush)
        .expect("there is room");
    output.truncate(deflate.total_out() as usize - 4);
    output
}

fn a_bomb_takes_no_more_than_its_reader_is_behind() {
    alone(async {
        let size = SIZE / 4;
        let bomb = bomb(size);
        for shape in SHAPES {
            let config = Config::default()
                .streaming(true)
                .compression(Compression::shared());
            let (mut peer, mut socket) = compressed(shape, config).await;
            let rise = Rise::begin();
            let sending = async {
                for (number, piece) in bomb.chunks(10_000).enumerate() {
                    let first = if number == 0 { 0x42 } else { 0x00 };
                    peer.send(client_frame(first, piece)).await;
                }
                peer.send(client_frame(0x80, "")).await;
            };
            let reading = async {
                // It does not begin before there is a lot.
                idle().await;
                let mut reader = within(socket.recv_reader()).await.expect("open");
                let reader = reader.as_mut().expect("a message");
                let mut read = 0;
                while let Some(chunk) = within(reader.chunk()).await.expect("a chunk") {
                    read += chunk.len();
                }
                read
            };
            let (read, ()) = tokio::join!(reading, sending);
            assert_eq!(read, size);
            let peak = rise.peak();
            assert!(peak < 1 << 20, "{peak} bytes");
        }
    });
}

/// Opens a connection with compression, whose socket is in the hands of the test.
async fn compressed(shape: Shape, config: Config) -> (Peer, WebSocket) {
    use tower::ServiceExt;
    let (ours, theirs) = duplex(PIPE);
    let (sender, mut sockets) = tokio::sync::mpsc::unbounded_channel();
    let route = tower_websocket::handler(move |socket| {
        let _gone = sender.send(socket);
        std::future::ready(())
    });
    let request = match shape {
        Shape::H1 => testing::request("/"),
        Shape::H2 => testing::request("/").http2(),
    };
    let request = request
        .header("sec-websocket-extensions", "permessage-deflate")
        .extension(tower_websocket::service::OnUpgrade::new(theirs));
    let layer = tower_websocket::WebSocketLayer::new(route).config(config);
    let response = layer.endpoint().oneshot(request.into_request()).await;
    drop(response.expect("the layer makes no errors"));
    let socket = within(sockets.recv()).await;
    (Peer::new(ours), socket.expect("the handler was called"))
}

fn a_writer_to_a_peer_that_reads_nothing_is_bounded() {
    alone(async {
        for shape in SHAPES {
            let config = Config::default()
                .max_send_queue(200_000)
                .write_timeout(None)
                .ping_interval(None);
            let (_ours, theirs) = duplex(PIPE);
            let (socket, _reports) = hold_over(shape, config, theirs).await;
            let rise = Rise::begin();
            let writing = tokio::spawn(async move {
                let mut writer = socket.send_writer(MessageKind::Binary).await?;
                for _ in 0..1000 {
                    writer.write_all(&[1; 10_000]).await?;
                    writer.send(Bytes::from(vec![2; 10_000])).await?;
                }
                writer.finish().await
            });
            idle().await;
            assert!(!writing.is_finished());
            let peak = rise.peak();
            assert!(peak < 2 * 200_000 + 100_000, "{peak} bytes");
            writing.abort();
        }
    });
}

fn a_thousand_connections_inside_a_huge_frame_cost_next_to_nothing() {
    alone(async {
        for shape in SHAPES {
            let config = Config::default().streaming(true).ping_interval(None);
            let mut held = vec![];
            for _ in 0..1000 {
                let (ours, theirs) = duplex(PIPE);
                let (socket, reports) = hold_over(shape, config.clone(), theirs).await;
                held.push((Peer::new(ours), socket, reports));
            }
            let header = [client_header(0x82, 1 << 30), b"x".to_vec()].concat();
            held[0].0.send(&header).await;
            idle().await;
            let rise = Rise::begin();
            let mut pipes = 0;
            for (peer, _, _) in &mut held {
                peer.send(&header).await;
                pipes += 64;
            }
            idle().await;
            let each = (rise.now() - pipes) / 1000;
            // A piece of one byte, and where the next ones are read to.
            assert!(each < 6000, "{each} bytes for one byte");
            let mut some = [0; 1];
            for (_, socket, _) in &mut held {
                let mut reader = within(socket.recv_reader()).await.expect("open");
                let reader = reader.as_mut().expect("a message");
                within(reader.read_exact(&mut some)).await.expect("a byte");
            }
        }
    });
}

/// What a pipe holds here.
const PIPE: usize = 4 << 10;
