//! What a compressed message takes, and what is kept for the next.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use bytes::{Buf, BytesMut};
use tower_websocket::{
    Compression, Config, Event, ProtocolError,
    protocol::{Connection, Decoder, DeflateParams, Role},
};

use super::{
    Rise,
    at_rest::{echoed, idle_connection, opened},
    support::client_frame,
};

/// What a compressed message of more than 1 GiB of zeroes begins with, in 1 MiB.
///
/// A block with codes of its own (RFC 1951 §3.2.7), in which a match of 258 bytes takes two
/// bits, both 0.
fn bomb() -> Vec<u8> {
    let mut bits = Vec::new();
    let mut add = |value: usize, count: u32| {
        bits.extend((0..count).map(|bit| value >> bit & 1));
    };
    add(0b100, 3);
    // 286 lengths, one distance, 18 lengths of the codes for those.
    add(29, 5);
    add(0, 5);
    add(14, 4);
    // Of these 18 takes one bit, 2 and 1 take two.
    for index in 0..18 {
        add(
            match index {
                2 => 1,
                15 | 17 => 2,
                _ => 0,
            },
            3,
        );
    }
    // The byte 0 takes two bits, the end too; the longest match takes one, and its distance.
    let [one, two] = [0b01, 0b11];
    add(two, 2);
    add(0, 1);
    add(138 - 11, 7);
    add(0, 1);
    add(117 - 11, 7);
    add(two, 2);
    add(0, 1);
    add(28 - 11, 7);
    add(one, 2);
    add(one, 2);
    // A byte to refer to.
    add(0b01, 2);
    let start = bits.chunks(8).map(|bits| {
        let bits = bits.iter().enumerate();
        bits.fold(0, |byte, (index, bit)| byte | (*bit as u8) << index)
    });
    let mut bytes: Vec<_> = start.collect();
    bytes.resize(1 << 20, 0);
    bytes
}

/// A message in frames of `size` bytes.
fn fragments(payload: &[u8], size: usize) -> Vec<u8> {
    let last = payload.chunks(size).count() - 1;
    let frames = payload.chunks(size).enumerate().map(|(index, piece)| {
        let first = if index == 0 { 0x42 } else { 0x00 };
        let fin = if index == last { 0x80 } else { 0x00 };
        client_frame(first | fin, piece)
    });
    frames.collect::<Vec<_>>().concat()
}

/// Feeds a decoder with `read` bytes at a time: what comes of it, and how far the heap rose.
fn decode(
    mut decoder: Decoder,
    bytes: &[u8],
    read: usize,
) -> (Result<Option<Event>, ProtocolError>, usize) {
    let mut input = BytesMut::with_capacity(bytes.len());
    let rise = Rise::begin();
    for piece in bytes.chunks(read) {
        input.extend_from_slice(piece);
        match decoder.decode(&mut input) {
            Ok(None) => {}
            decoded => return (decoded, rise.peak()),
        }
    }
    (Ok(None), rise.peak())
}

const PARAMS: [DeflateParams; 2] = [
    DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    },
    DeflateParams {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    },
];

const ANSWER: &str = "permessage-deflate\r\n";

pub(super) fn a_bomb_of_1_gib_takes_no_more_than_a_message_may() {
    let bomb = bomb();
    let config = Config::default().max_message_size(bomb.len());
    for params in PARAMS {
        for size in [bomb.len(), bomb.len() / 1000] {
            let frames = fragments(&bomb, size);
            for read in [frames.len(), 1000] {
                let decoder = Decoder::new(Role::Server, &config).deflate(params);
                let (decoded, peak) = decode(decoder, &frames, read);
                let limit = bomb.len() as u64;
                assert_eq!(decoded, Err(ProtocolError::InflatedTooBig { limit }));
                assert!(peak < bomb.len() + (1 << 20), "{peak} bytes");
            }
        }
    }
}

pub(super) fn a_message_that_inflates_to_the_limit_peaks_at_twice_its_size() {
    let limit = 4 << 20;
    let config = Config::default()
        .max_message_size(limit)
        .compression(Compression::shared());
    for params in PARAMS {
        let now = Instant::now();
        let mut client = Connection::new(Role::Client, config.clone(), now).deflate(params);
        client.send(vec![0; limit]).expect("it is open");
        let queue = client.poll_transmit().expect("a message waits");
        let frame = queue.copy_to_bytes(queue.len());
        let decoder = Decoder::new(Role::Server, &config).deflate(params);
        let (decoded, peak) = decode(decoder, &frame, 1000);
        let Ok(Some(Event::Message(message))) = decoded else {
            panic!("a message");
        };
        assert_eq!(message.len(), limit);
        // The decompressor, its output, and what it remembers.
        let most = 2 * limit + (256 << 10);
        assert!(peak < most, "{peak} bytes");
    }
}

pub(super) fn a_message_in_progress_takes_one_decompressor() {
    let config = Config::default();
    for params in PARAMS {
        let mut decoders: Vec<_> = (0..100)
            .map(|_| Decoder::new(Role::Server, &config).deflate(params))
            .collect();
        let mut begun = BytesMut::from(&client_frame(0x42, "").repeat(100)[..]);
        let rise = Rise::begin();
        for decoder in &mut decoders {
            let mut frame = begun.split_to(6);
            assert_eq!(decoder.decode(&mut frame), Ok(None));
        }
        let each = rise.now() / decoders.len();
        assert!(each < 64 << 10, "{each} bytes");
    }
}

/// Opens a connection with compression, and has messages of these lengths echoed, compressed
/// both ways.
fn echoed_compressed(
    address: SocketAddr,
    params: DeflateParams,
    answer: &str,
    lens: &[usize],
) -> TcpStream {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
    let (mut stream, head) = opened(address, offer);
    assert!(head.contains(answer), "{head}");
    let config = Config::default().compression(Compression::shared());
    let mut client = Connection::new(Role::Client, config, Instant::now()).deflate(params);
    for len in lens {
        client.send("x".repeat(*len)).expect("it is open");
        let queue = client.poll_transmit().expect("a message waits");
        let frame = queue.copy_to_bytes(queue.len());
        assert_eq!(frame[0], 0xc1);
        stream.write_all(&frame).expect("it reads");
        let mut header = [0; 2];
        stream.read_exact(&mut header).expect("it echoes");
        assert!(header[0] == 0xc1 && header[1] < 100, "{header:?}");
        let mut payload = vec![0; header[1].into()];
        stream.read_exact(&mut payload).expect("it echoes");
    }
    stream
}

pub(super) fn an_idle_connection_takes_nothing_for_shared_compression() {
    let without = idle_connection(200, Config::default(), echoed);
    let config = Config::default().compression(Compression::shared());
    let with = idle_connection(200, config, |address| {
        let no_takeover = "permessage-deflate; server_no_context_takeover; \
                           client_no_context_takeover\r\n";
        echoed_compressed(address, PARAMS[0], no_takeover, &[1000])
    });
    assert!(with <= without + 64, "{with} bytes instead of {without}");
}

pub(super) fn an_idle_connection_takes_what_is_documented_for_takeover() {
    type Open = fn(SocketAddr) -> TcpStream;
    let short: Open = |address| echoed_compressed(address, PARAMS[1], ANSWER, &[1000]);
    let long: Open = |address| echoed_compressed(address, PARAMS[1], ANSWER, &[9000, 1000]);
    let full: Open = |address| echoed_compressed(address, PARAMS[1], ANSWER, &[1000; 100]);
    let config = |settings| Config::default().compression(settings);
    // The connection, what it remembers of 1000 bytes each way, and some order around it.
    let remembered = 1000 + 2 * 1000;
    let bytes = idle_connection(20, config(Compression::dedicated()), short);
    assert!(
        (remembered..remembered + 1000).contains(&bytes),
        "{bytes} bytes"
    );
    // With more than 8 KiB to remember it gets a compressor.
    // What it remembers grows by doubling.
    let remembered = 1000 + 2 * 18_000;
    let own = (136 << 10) + 4 * (1 << 15) + 7 * (1 << (8 + 6));
    let bytes = idle_connection(20, config(Compression::dedicated()), long);
    assert!(
        (own / 2..own + remembered + 1000).contains(&bytes),
        "{bytes} bytes"
    );
    // Enough for the windows of all, and for compressors of the first few.
    let settings = Compression::dedicated().max_memory(2 * 80 * (80 << 10));
    let bytes = idle_connection(20, config(settings.clone()), long);
    assert!(
        (remembered..remembered + 1000).contains(&bytes),
        "{bytes} bytes"
    );
    // Both windows, and a quarter of each.
    let remembered = 1000 + (80 << 10);
    let bytes = idle_connection(20, config(settings), full);
    assert!(
        (remembered - 1000..remembered + 1000).contains(&bytes),
        "{bytes} bytes"
    );
}
