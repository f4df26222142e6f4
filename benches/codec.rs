//! The codec in memory: reading, echoing, masking, validating, compressing.
//!
//! Run: `cargo bench --bench codec`; once each, as a smoke run: `cargo bench --bench codec -- --test`.
//! `read` and `echo` take 64 frames a pass, as one read brings them: divide by 64 for one.

use std::time::Instant;

use bytes::{Buf, BufMut, BytesMut};
use divan::{
    Bencher, black_box,
    counter::{BytesCount, ItemsCount},
};
use tower_websocket::{
    Compression, Config, Event, Message,
    protocol::{
        Connection, Decoder, DeflateParams, Encoder, Role, SendQueue, Utf8Validator, apply_mask,
    },
};

const SIZES: [usize; 4] = [20, 125, 1024, 16 * 1024];

/// How many frames one pass goes through.
const BATCH: usize = 64;

fn main() {
    divan::main();
}

/// Frames as a client sends them.
fn frames(len: usize) -> BytesMut {
    let encoder = Encoder::new(Role::Client, &Config::default());
    let mut queue = SendQueue::new();
    for _ in 0..BATCH {
        encoder.message(Message::binary(vec![b'x'; len]), &mut queue);
    }
    BytesMut::from(queue.copy_to_bytes(queue.remaining()).as_ref())
}

#[divan::bench(args = SIZES)]
fn read(bencher: Bencher<'_, '_>, len: usize) {
    let input = frames(len);
    let mut decoder = Decoder::new(Role::Server, &Config::default());
    bencher
        .counter(BytesCount::new(input.len()))
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| input.clone())
        .bench_local_refs(|input| {
            while let Ok(Some(event)) = decoder.decode(input) {
                black_box(event);
            }
        });
}

#[divan::bench(args = SIZES)]
fn echo(bencher: Bencher<'_, '_>, len: usize) {
    let input = frames(len);
    let mut decoder = Decoder::new(Role::Server, &Config::default());
    let encoder = Encoder::new(Role::Server, &Config::default());
    let mut queue = SendQueue::new();
    bencher
        .counter(BytesCount::new(input.len()))
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| input.clone())
        .bench_local_refs(|input| {
            while let Ok(Some(Event::Message(message))) = decoder.decode(input) {
                encoder.message(message, &mut queue);
            }
            queue.advance(queue.remaining());
        });
}

#[divan::bench(args = SIZES)]
fn mask(bencher: Bencher<'_, '_>, len: usize) {
    let mut payload = vec![b'x'; len];
    bencher
        .counter(BytesCount::new(len))
        .bench_local(|| apply_mask(black_box(&mut payload), black_box([1, 2, 3, 4])));
}

#[divan::bench(args = SIZES)]
fn utf8_ascii(bencher: Bencher<'_, '_>, len: usize) {
    validate(bencher, &"x".repeat(len));
}

/// One to four bytes a character, and a script that has three.
#[divan::bench(args = SIZES)]
fn utf8_mixed_scripts(bencher: Bencher<'_, '_>, len: usize) {
    const SCRIPTS: &str = "añ語🦀 да, мир. 世界のみなさん ";
    let text: String = SCRIPTS.chars().cycle().take(len).collect();
    validate(bencher, &text[..text.floor_char_boundary(len)]);
}

fn validate(bencher: Bencher<'_, '_>, text: &str) {
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| {
            let mut validator = Utf8Validator::default();
            black_box(validator.push(black_box(text.as_bytes())))
        });
}

/// No context takeover: every message by itself.
#[divan::bench]
fn deflate_shared_1_kib_json(bencher: Bencher<'_, '_>) {
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..DeflateParams::default()
    };
    echo_compressed(bencher, Compression::shared(), params);
}

/// Context takeover: messages refer to those before them.
#[divan::bench]
fn deflate_dedicated_1_kib_json(bencher: Bencher<'_, '_>) {
    echo_compressed(bencher, Compression::dedicated(), DeflateParams::default());
}

/// What a server does to echo a compressed message: receive, inflate, deflate, transmit.
fn echo_compressed(bencher: Bencher<'_, '_>, compression: Compression, params: DeflateParams) {
    let config = Config::default()
        .compression(compression)
        .control_frame_rate(None)
        .ping_interval(None);
    let now = Instant::now();
    let mut client = Connection::new(Role::Client, config.clone(), now).deflate(params);
    let mut server = Connection::new(Role::Server, config, now).deflate(params);
    let mut orders = orders().into_iter().cycle();
    let mut next = move || {
        let message = orders.next().unwrap_or_default();
        assert!(client.send(message).is_ok(), "the client's end is open");
        transmitted(&mut client, now)
    };
    bencher
        .counter(BytesCount::new(1024_usize))
        .with_inputs(&mut next)
        .bench_local_values(|input| {
            server.receive(&input, now);
            while let Some(Event::Message(message)) = server.poll_event() {
                assert!(server.send(message).is_ok(), "the server's end is open");
            }
            transmitted(&mut server, now)
        });
}

/// All that is to be written. Nothing would mean that a message was not understood.
fn transmitted(connection: &mut Connection, now: Instant) -> BytesMut {
    let mut bytes = BytesMut::new();
    if let Some(queue) = connection.poll_transmit() {
        bytes.put(queue);
        connection.transmitted(now);
    }
    assert!(!bytes.is_empty(), "no echo: {:?}", connection.error());
    bytes
}

/// JSON of 1 KiB as services send it: names that repeat, numbers that do not.
fn orders() -> Vec<String> {
    let mut number = 0x9e37_79b9_u32;
    let mut next = move || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number >> 8
    };
    let mut message = || {
        let mut json = String::from("[");
        while json.len() < 1024 {
            let (id, price) = (next(), next());
            json += &format!(
                r#"{{"id":{},"price":{}.{:02},"side":"{}"}},"#,
                id % 1_000_000,
                price % 5_000,
                price % 97,
                if id % 2 == 0 { "buy" } else { "sell" },
            );
        }
        json.truncate(1024);
        json
    };
    (0..BATCH).map(|_| message()).collect()
}
