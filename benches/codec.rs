//! The codec in memory: reading, echoing, masking, validating.
//!
//! Run: `cargo bench --bench codec`; once each, as a smoke run: `cargo bench --bench codec -- --test`.

use bytes::{Buf, BytesMut};
use divan::{Bencher, black_box, counter::BytesCount};
use tower_websocket::{
    Config, Event, Message,
    protocol::{Decoder, Encoder, Role, SendQueue, Utf8Validator, apply_mask},
};

const SIZES: [usize; 4] = [20, 125, 1024, 16 * 1024];

/// How many frames one pass goes through, as a read brings them.
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
fn utf8(bencher: Bencher<'_, '_>, len: usize) {
    let text = "añ語🦀".repeat(len / 10);
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| {
            let mut validator = Utf8Validator::default();
            black_box(validator.push(black_box(text.as_bytes())))
        });
}
