//! What is written, byte by byte.

use bytes::Buf;

use super::*;
use crate::protocol::{
    Decoder,
    close::CloseCode,
    test_support::{
        HEL, HELLO, KEY, LO, MASKED_HELLO, MASKED_PONG_HELLO, PING_HELLO, decode_all, from_client,
        from_server,
    },
};

fn server() -> Encoder {
    Encoder::new(Role::Server, &Config::default())
}

fn client() -> Encoder {
    Encoder::new(Role::Client, &Config::default()).masking_keys(|| KEY)
}

/// The bytes that `encode` puts in the queue.
fn bytes<T>(encode: impl FnOnce(&mut SendQueue) -> T) -> Vec<u8> {
    let mut queue = SendQueue::new();
    encode(&mut queue);
    let len = queue.remaining();
    queue.copy_to_bytes(len).into()
}

#[test]
fn server_writes_the_examples_of_the_standard() {
    assert_eq!(
        bytes(|queue| server().message("Hello".into(), queue)),
        HELLO
    );
    assert_eq!(bytes(|queue| server().ping(b"Hello", queue)), PING_HELLO);
    let fragmented = Encoder::new(Role::Server, &Config::default().fragment_size(3));
    let written = bytes(|queue| fragmented.message("Hello".into(), queue));
    assert_eq!(written, [HEL, LO].concat());
}

#[test]
fn client_writes_the_examples_of_the_standard() {
    let hello = bytes(|queue| client().message("Hello".into(), queue));
    assert_eq!(hello, MASKED_HELLO);
    let pong = bytes(|queue| client().pong(b"Hello", queue));
    assert_eq!(pong, MASKED_PONG_HELLO);
}

#[test]
fn server_never_masks() {
    let encoder = server().masking_keys(|| KEY);
    assert_eq!(bytes(|queue| encoder.message("Hello".into(), queue)), HELLO);
    assert_eq!(bytes(|queue| encoder.ping(b"Hello", queue)), PING_HELLO);
    assert_eq!(bytes(|queue| encoder.close(None, queue)), b"\x88\x00");
}

#[test]
fn client_masks_every_frame_even_an_empty_one() {
    let empty = |first| from_client(first, b"");
    assert_eq!(
        bytes(|queue| client().message("".into(), queue)),
        empty(0x81)
    );
    assert_eq!(
        bytes(|queue| client().message(b"".into(), queue)),
        empty(0x82)
    );
    assert_eq!(bytes(|queue| client().ping(b"", queue)), empty(0x89));
    assert_eq!(bytes(|queue| client().pong(b"", queue)), empty(0x8a));
    assert_eq!(bytes(|queue| client().close(None, queue)), empty(0x88));
}

#[test]
fn client_draws_a_key_for_each_fragment() {
    use std::cell::Cell;
    thread_local! { static DRAWN: Cell<u8> = const { Cell::new(0) }; }
    let encoder = Encoder::new(Role::Client, &Config::default().fragment_size(1))
        .masking_keys(|| [DRAWN.replace(DRAWN.get() + 1); 4]);
    let written = bytes(|queue| encoder.message(b"\0\0".into(), queue));
    assert_eq!(written, b"\x02\x81\0\0\0\0\0\x80\x81\x01\x01\x01\x01\x01");
}

#[test]
fn client_draws_unpredictable_keys_by_default() {
    let encoder = Encoder::new(Role::Client, &Config::default());
    let key = || bytes(|queue| encoder.ping(b"", queue))[2..].to_vec();
    assert_ne!([key(), key()].concat(), [0; 8]);
    assert_ne!(key(), key());
}

#[test]
fn messages_of_every_length_have_the_right_header() {
    for len in [0, 1, 125, 126, 4095, 4096, 65_535, 65_536] {
        let payload = vec![0x5a; len];
        let message = Message::binary(payload.clone());
        let written = bytes(|queue| server().message(message.clone(), queue));
        assert_eq!(written, from_server(0x82, &payload), "{len}");
        let written = bytes(|queue| client().message(message, queue));
        assert_eq!(written, from_client(0x82, &payload), "{len}");
    }
}

#[test]
fn short_messages_of_both_kinds_are_written_as_the_standard_has_them() {
    let sizes = [None, Some(1), Some(20), Some(125), Some(1000)];
    for (size, len) in sizes
        .into_iter()
        .flat_map(|size| (0..=127).map(move |len| (size, len)))
    {
        if size.is_some_and(|size| size < len) {
            continue;
        }
        let config = Config::default().fragment_size(size);
        let server = Encoder::new(Role::Server, &config);
        let client = Encoder::new(Role::Client, &config).masking_keys(|| KEY);
        let text = "short".repeat(26)[..len].to_owned();
        for (first, message) in [
            (0x81, Message::text(&*text)),
            (0x82, Message::binary(text.clone())),
        ] {
            let written = bytes(|queue| server.message(message.clone(), queue));
            assert_eq!(written, from_server(first, text.as_bytes()), "{len}");
            let written = bytes(|queue| client.message(message, queue));
            assert_eq!(written, from_client(first, text.as_bytes()), "{len}");
        }
    }
}

#[test]
fn message_of_the_fragment_size_is_one_frame_and_one_byte_more_is_two() {
    for size in [1, 2, 125, 5000] {
        let encoder = Encoder::new(Role::Server, &Config::default().fragment_size(size));
        let payload = vec![1; size + 1];
        let whole = Message::binary(payload[..size].to_vec());
        let written = bytes(|queue| encoder.message(whole, queue));
        assert_eq!(written, from_server(0x82, &payload[..size]));
        let written = bytes(|queue| encoder.message(payload.clone().into(), queue));
        let fragments = [
            from_server(0x02, &payload[..size]),
            from_server(0x80, b"\x01"),
        ];
        assert_eq!(written, fragments.concat());
    }
}

/// Returns how many frames these are.
fn frames(mut wire: &[u8]) -> usize {
    let mut frames = 0;
    while let Ok(Some((header, len))) = Header::decode(wire) {
        wire = &wire[len + header.payload_len as usize..];
        frames += 1;
    }
    assert!(wire.is_empty());
    frames
}

#[test]
fn message_of_any_size_is_sent_in_no_more_fragments_than_a_receiver_takes() {
    for size in [0, 1, 64, 1000] {
        let encoder = Encoder::new(Role::Server, &Config::default().fragment_size(size));
        for len in [1024, 1025, 100_000, 1 << 20] {
            let wire = bytes(|queue| encoder.message(vec![1; len].into(), queue));
            let mut decoder = Decoder::new(Role::Client, &Config::default());
            let (messages, error) = decode_all(&mut decoder, [&wire[..]]);
            assert_eq!((messages.len(), error), (1, None), "{size}, {len}");
            let compressed =
                bytes(|queue| encoder.compressed(MessageKind::Binary, &vec![1; len], queue));
            assert_eq!(frames(&compressed), frames(&wire));
            assert!(frames(&wire) <= 1024);
        }
    }
}

#[test]
fn control_frames_are_never_fragmented() {
    let encoder = Encoder::new(Role::Server, &Config::default().fragment_size(1));
    assert_eq!(bytes(|queue| encoder.ping(b"Hello", queue)), PING_HELLO);
}

#[test]
fn server_shares_payloads_from_4_kib_on() {
    for (len, shared) in [(4095, false), (4096, true), (100_000, true)] {
        let payload = Bytes::from(vec![1; len]);
        let mut queue = SendQueue::new();
        server().message(payload.clone().into(), &mut queue);
        queue.advance(4 + if len > 65_535 { 6 } else { 0 });
        assert_eq!(queue.chunk().len(), len);
        assert_eq!(queue.chunk().as_ptr() == payload.as_ptr(), shared, "{len}");
    }
}

#[test]
fn client_leaves_the_shared_payload_as_it_was() {
    let payload = Bytes::from(vec![1; 5000]);
    bytes(|queue| client().message(payload.clone().into(), queue));
    assert!(payload.iter().all(|byte| *byte == 1));
}

#[test]
fn control_payloads_are_cut_at_125_bytes() {
    for len in [124, 125, 126, 1000] {
        let payload = vec![b'x'; len];
        let expected = from_server(0x89, &payload[..len.min(125)]);
        assert_eq!(bytes(|queue| server().ping(&payload, queue)), expected);
    }
}

#[test]
fn longest_close_frame_fits_a_control_frame() {
    let frame = CloseFrame::new(CloseCode::NORMAL, "x".repeat(200));
    let payload = [b"\x03\xe8", "x".repeat(123).as_bytes()].concat();
    let written = bytes(|queue| server().close(Some(&frame), queue));
    assert_eq!(written, from_server(0x88, &payload));
}
