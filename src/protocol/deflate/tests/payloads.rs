//! Payloads by hand: what `Compressor` and `Decompressor` make of them, and what a connection makes of that.

use bytes::Bytes;

use super::*;
use crate::{
    compression::Compression,
    protocol::{Compressor, Connection, Decompressor},
};

const SETTINGS: [DeflateParams; 3] = [
    DeflateParams {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    },
    DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    },
    DeflateParams {
        server_no_context_takeover: false,
        client_no_context_takeover: true,
        server_max_window_bits: 9,
        client_max_window_bits: 12,
    },
];

fn peer(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

fn compressor(role: Role, params: DeflateParams) -> Compressor {
    Compressor::new(role, params, &Compression::dedicated())
}

/// Messages of many kinds, the same again and again.
fn messages(random: &mut Random) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = [0, 1, 5, 100, 4000, 50_000]
        .iter()
        .map(|len| (0..*len).map(|n| (n % 251) as u8).collect())
        .collect();
    messages.push(random.bytes(3000));
    messages.push(b"Hello, hello! ".repeat(500));
    [&messages[..], &messages[..]].concat()
}

#[test]
fn examples_of_the_standard_are_decompressed() -> Result<(), ProtocolError> {
    let new = || Decompressor::new(Role::Client, takeover());
    // §7.2.3.1 whole and in two frames, §7.2.3.2 twice, §7.2.3.3 not compressed, §7.2.3.4 with a final
    // block, §7.2.3.5 in two blocks, §7.2.3.6 empty.
    assert_eq!(new().decompress(HELLO_DEFLATED)?, "Hello");
    for cut in 0..HELLO_DEFLATED.len() {
        let (mut both, (first, second)) = (new(), HELLO_DEFLATED.split_at(cut));
        let parts = [both.decompress_fragment(first)?, both.decompress(second)?];
        assert_eq!(parts.concat(), b"Hello", "cut at {cut}");
    }
    let mut twice = new();
    assert_eq!(twice.decompress(HELLO_DEFLATED)?, "Hello");
    assert_eq!(twice.decompress(b"\xf2\x00\x11\x00\x00")?, "Hello");
    for payload in [
        &b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"[..],
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ] {
        assert_eq!(new().decompress(payload)?, "Hello", "{payload:x?}");
    }
    assert_eq!(new().decompress(b"\x00")?, "");
    assert_eq!(new().decompress(b"")?, "");
    Ok(())
}

#[test]
fn example_of_the_standard_is_compressed() {
    let params = no_takeover();
    assert_eq!(
        compressor(Role::Server, params).compress(b"Hello"),
        HELLO_DEFLATED
    );
    assert_eq!(compressor(Role::Server, params).compress(b""), &b"\x00"[..]);
}

#[test]
fn what_one_end_compresses_the_other_one_reads() -> Result<(), ProtocolError> {
    let mut random = Random(1);
    for (role, params) in [Role::Client, Role::Server]
        .into_iter()
        .flat_map(|role| SETTINGS.map(|params| (role, params)))
    {
        let mut ours = compressor(role, params);
        let mut theirs = Decompressor::new(peer(role), params);
        for message in messages(&mut random) {
            assert_eq!(theirs.decompress(&ours.compress(&message))?, message);
            if let Some(payload) = ours.compress_if_shorter(&message) {
                assert!(payload.len() < message.len());
                assert_eq!(theirs.decompress(&payload)?, message);
            }
            let mut parts = random.cut(&message, 1000);
            let last = parts.pop().unwrap_or_default();
            let mut whole = Vec::new();
            for part in parts {
                let payload = ours.compress_fragment(part);
                assert!(ours.is_message_open() && !payload.is_empty());
                let part_read = theirs.decompress_fragment(&payload)?;
                assert_eq!(
                    part_read, part,
                    "all of a part can be read when it is there"
                );
                whole.extend_from_slice(&part_read);
            }
            whole.extend_from_slice(&theirs.decompress(&ours.compress(last))?);
            assert_eq!(whole, message);
            assert!(!ours.is_message_open() && !theirs.is_message_open());
        }
    }
    Ok(())
}

#[test]
fn a_connection_reads_what_is_compressed_by_hand_and_the_other_way() -> Result<(), ProtocolError> {
    let (params, now) = (takeover(), std::time::Instant::now());
    let config = Config::default().compression(Compression::dedicated().threshold(0));
    let mut server = Connection::new(Role::Server, config, now).deflate(params);
    let mut ours = compressor(Role::Client, params);
    let mut theirs = Decompressor::new(Role::Client, params);
    for message in ["Hello, hello, hello", "Hello, hello, hello, again"] {
        server.receive(&from_client(TEXT, &ours.compress(message.as_bytes())), now);
        assert_eq!(server.poll_event(), Some(text(message)));
        assert!(server.send(message).is_ok());
        let queue = server.poll_transmit().expect("a message");
        let mut wire = BytesMut::new();
        while bytes::Buf::has_remaining(queue) {
            let len = bytes::Buf::chunk(queue).len();
            wire.extend_from_slice(&bytes::Buf::copy_to_bytes(queue, len));
        }
        server.transmitted(now);
        let mut codec = crate::protocol::FrameCodec::new(Role::Client).allow_rsv1(true);
        let frame = codec.decode(&mut wire)?.expect("a whole frame");
        assert!(frame.rsv1 && frame.payload.len() < message.len());
        assert_eq!(theirs.decompress(&frame.payload)?, message);
    }
    Ok(())
}

#[test]
fn what_is_not_sent_compressed_is_not_referred_to() -> Result<(), ProtocolError> {
    let (mut random, params) = (Random(2), takeover());
    let mut ours = compressor(Role::Server, params);
    let mut theirs = Decompressor::new(Role::Client, params);
    let noise = random.bytes(2000);
    assert_eq!(ours.compress_if_shorter(&noise), None);
    assert_eq!(ours.compress_if_shorter(b"x"), None);
    let payload = ours.compress(&noise);
    assert!(payload.len() > 1900, "{} bytes", payload.len());
    assert_eq!(theirs.decompress(&payload)?, noise);
    let payload = ours.compress(&noise);
    assert!(payload.len() < 100, "{} bytes", payload.len());
    assert_eq!(theirs.decompress(&payload)?, noise);
    Ok(())
}

#[test]
fn a_bomb_stops_one_byte_past_the_limit() {
    let bomb: Bytes = compressor(Role::Server, takeover()).compress(&vec![0; 2 << 20]);
    let decompress = |limit: Option<usize>| {
        let decompressor = Decompressor::new(Role::Client, takeover());
        decompressor
            .max_message_size(limit)
            .decompress(&bomb)
            .map(|output| output.len())
    };
    let too_big = |limit| Err(ProtocolError::InflatedTooBig { limit });
    assert_eq!(decompress(None), Ok(2 << 20));
    assert_eq!(decompress(Some(2 << 20)), Ok(2 << 20));
    assert_eq!(decompress(Some((2 << 20) - 1)), too_big((2 << 20) - 1));
    assert_eq!(decompress(Some(0)), too_big(0));
    let default = Decompressor::new(Role::Client, takeover()).decompress(&bomb);
    assert_eq!(
        default,
        Err(ProtocolError::InflatedTooBig { limit: 1 << 20 })
    );
}

#[test]
fn a_limit_is_for_all_parts_of_a_message_and_for_each_message_anew() {
    let mut ours = compressor(Role::Client, takeover());
    let mut theirs = Decompressor::new(Role::Server, takeover()).max_message_size(100);
    for _ in 0..3 {
        let first = theirs.decompress_fragment(&ours.compress_fragment(&[7; 60]));
        assert_eq!(first.map(|part| part.len()), Ok(60));
        let second = theirs.decompress(&ours.compress(&[7; 40]));
        assert_eq!(second.map(|part| part.len()), Ok(40));
    }
    let first = theirs.decompress_fragment(&ours.compress_fragment(&[7; 60]));
    assert!(first.is_ok());
    let error = ProtocolError::InflatedTooBig { limit: 100 };
    assert_eq!(theirs.decompress(&ours.compress(&[7; 41])), Err(error));
}

#[test]
fn what_is_no_deflate_fails_for_good() {
    // A block of the reserved kind, and a message that ends inside a block.
    for corrupt in [&b"\xff\xff\xff"[..], b"\xf2\x48\xcd"] {
        let mut theirs = Decompressor::new(Role::Server, takeover());
        assert_eq!(
            theirs.decompress(corrupt),
            Err(ProtocolError::CorruptDeflate)
        );
        assert_eq!(
            theirs.decompress(HELLO_DEFLATED),
            Err(ProtocolError::CorruptDeflate)
        );
    }
}
