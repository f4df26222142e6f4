//! Every field and every boundary of RFC 6455 §5.2.

use super::*;
use crate::{
    config::Config,
    protocol::{Decoder, Role, test_support::*},
};
use bytes::BytesMut;

/// A header written by hand; `field` is how many bytes the extended length takes.
fn wire(first: u8, mask: bool, len: u64, field: usize) -> Vec<u8> {
    let short = match field {
        0 => len as u8,
        2 => 126,
        _ => 127,
    };
    let mut bytes = vec![first, short | if mask { 0x80 } else { 0 }];
    bytes.extend_from_slice(&len.to_be_bytes()[8 - field..]);
    if mask {
        bytes.extend_from_slice(&KEY);
    }
    bytes
}

/// Returns how many bytes of extended length §5.2 demands.
fn field_of(len: u64) -> usize {
    match len {
        0..=125 => 0,
        126..=65_535 => 2,
        _ => 8,
    }
}

const LENGTHS: [u64; 12] = [
    0,
    1,
    124,
    125,
    126,
    127,
    128,
    65_534,
    65_535,
    65_536,
    1 << 32,
    (1 << 63) - 1,
];

#[test]
fn examples_of_the_standard_are_decoded() {
    let text = Header {
        fin: true,
        rsv1: false,
        rsv2: false,
        rsv3: false,
        opcode: Opcode::Text,
        masking_key: None,
        payload_len: 5,
    };
    let masking_key = Some(KEY);
    let large = |payload_len| Header {
        opcode: Opcode::Binary,
        payload_len,
        ..text
    };
    let (ping, pong) = (Opcode::Ping, Opcode::Pong);
    for (bytes, header, used) in [
        (HELLO, text, 2),
        (
            MASKED_HELLO,
            Header {
                masking_key,
                ..text
            },
            6,
        ),
        (
            HEL,
            Header {
                fin: false,
                payload_len: 3,
                ..text
            },
            2,
        ),
        (
            LO,
            Header {
                opcode: Opcode::Continuation,
                payload_len: 2,
                ..text
            },
            2,
        ),
        (
            PING_HELLO,
            Header {
                opcode: ping,
                ..text
            },
            2,
        ),
        (
            MASKED_PONG_HELLO,
            Header {
                opcode: pong,
                masking_key,
                ..text
            },
            6,
        ),
        (b"\x82\x7e\x01\x00", large(256), 4),
        (
            b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00",
            large(65_536),
            10,
        ),
    ] {
        assert_eq!(Header::decode(bytes), Ok(Some((header, used))));
        assert_eq!(header.encode()[..], bytes[..used]);
    }
}

#[test]
fn every_field_survives_encoding_at_every_length() {
    for opcode in [0x0, 0x1, 0x2, 0x8, 0x9, 0xa] {
        for (fin, rsv1, mask) in (0..8).map(|i| (i & 1 == 0, i & 2 == 0, i & 4 == 0)) {
            for len in LENGTHS {
                let control = opcode >= 8;
                if control && (!fin || rsv1 || len > 125) {
                    continue;
                }
                let first = opcode | u8::from(fin) << 7 | u8::from(rsv1) << 6;
                let bytes = wire(first, mask, len, field_of(len));
                let header = Header {
                    fin,
                    rsv1,
                    rsv2: false,
                    rsv3: false,
                    opcode: Opcode::new(opcode).expect("a defined opcode"),
                    masking_key: mask.then_some(KEY),
                    payload_len: len,
                };
                assert_eq!(header.encode()[..], bytes[..]);
                assert_eq!(Header::decode(&bytes), Ok(Some((header, bytes.len()))));
            }
        }
    }
}

#[test]
fn rsv2_and_rsv3_are_told_to_who_asks_for_them_and_refused_otherwise() {
    for (first, bits) in [
        (0xa2, (false, true, false)),
        (0x92, (false, false, true)),
        (0xf2, (true, true, true)),
        (0xa9, (false, true, false)),
    ] {
        let bytes = [first, 0];
        assert_eq!(Header::decode(&bytes), Err(ProtocolError::ReservedBits));
        let decoded = Header::decode_extended(&bytes);
        let (header, used) = decoded.expect("valid").expect("whole");
        assert_eq!((header.rsv1, header.rsv2, header.rsv3), bits);
        assert_eq!((used, &header.encode()[..]), (2, &bytes[..]));
    }
    // RSV1 is that of messages: no control frame has it.
    let decoded = Header::decode_extended(&[0xf9, 0]);
    assert_eq!(decoded, Err(ProtocolError::ReservedBits));
}

#[test]
fn every_prefix_of_a_header_asks_for_more() {
    for mask in [false, true] {
        for len in LENGTHS {
            let bytes = wire(0x82, mask, len, field_of(len));
            for cut in 0..bytes.len() {
                assert_eq!(
                    Header::decode(&bytes[..cut]),
                    Ok(None),
                    "{bytes:x?} at {cut}"
                );
            }
        }
    }
}

#[test]
fn bytes_behind_a_header_are_left() {
    for mask in [false, true] {
        for len in LENGTHS {
            let mut bytes = wire(0x82, mask, len, field_of(len));
            let used = bytes.len();
            bytes.extend_from_slice(&[0xff; 20]);
            let decoded = Header::decode(&bytes).ok().flatten();
            assert_eq!(
                decoded.map(|(header, used)| (header.payload_len, used)),
                Some((len, used))
            );
        }
    }
}

#[test]
fn lengths_that_are_not_minimal_are_rejected() {
    let short = [0, 1, 124, 125].map(|len| (len, 2));
    let long = [0, 1, 125, 126, 127, 65_534, 65_535].map(|len| (len, 8));
    for (len, field) in short.into_iter().chain(long) {
        for mask in [false, true] {
            let bytes = wire(0x82, mask, len, field);
            assert_eq!(
                Header::decode(&bytes),
                Err(ProtocolError::NonMinimalLength(len)),
                "{len} in {field} bytes"
            );
        }
    }
}

#[test]
fn lengths_with_the_top_bit_are_rejected() {
    for len in [
        1 << 63,
        (1 << 63) + 1,
        u64::MAX - 14,
        u64::MAX - 1,
        u64::MAX,
    ] {
        for mask in [false, true] {
            let bytes = wire(0x82, mask, len, 8);
            assert_eq!(
                Header::decode(&bytes),
                Err(ProtocolError::LengthOverflow(len))
            );
        }
    }
}

#[test]
fn reserved_bits_2_and_3_are_rejected() {
    for opcode in [0x0, 0x1, 0x2, 0x8, 0x9, 0xa] {
        for bits in [0x10, 0x20, 0x30, 0x50, 0x60, 0x70] {
            let bytes = [0x80 | bits | opcode, 0];
            assert_eq!(Header::decode(&bytes), Err(ProtocolError::ReservedBits));
        }
    }
}

#[test]
fn reserved_opcodes_are_rejected() {
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        for fin in [0, 0x80] {
            let error = Err(ProtocolError::ReservedOpcode(opcode));
            assert_eq!(Header::decode(&[fin | opcode, 0]), error);
        }
        assert_eq!(Opcode::new(opcode), None);
    }
    assert_eq!(Opcode::new(0x10), None);
}

#[test]
fn control_frames_are_those_with_the_top_bit_of_the_opcode() {
    let controls = [Opcode::Close, Opcode::Ping, Opcode::Pong];
    assert!(controls.into_iter().all(Opcode::is_control));
    let data = [Opcode::Continuation, Opcode::Text, Opcode::Binary];
    assert!(!data.into_iter().any(Opcode::is_control));
}

#[test]
fn control_frames_are_neither_fragmented_nor_compressed() {
    for opcode in [0x8, 0x9, 0xa] {
        assert_eq!(
            Header::decode(&[opcode, 0]),
            Err(ProtocolError::FragmentedControl)
        );
        assert_eq!(
            Header::decode(&[0xc0 | opcode, 0]),
            Err(ProtocolError::ReservedBits)
        );
    }
}

#[test]
fn control_frames_take_125_bytes_and_no_more() {
    for opcode in [0x88, 0x89, 0x8a] {
        for mask in [0, 0x80] {
            // What makes the length long shows in the second byte.
            for short in [126, 127] {
                let error = Err(ProtocolError::ControlTooLong(u64::from(short)));
                assert_eq!(Header::decode(&[opcode, mask | short]), error);
            }
            let mut bytes = vec![opcode, mask | 125];
            bytes.extend_from_slice(&KEY);
            let decoded = Header::decode(&bytes).ok().flatten();
            assert_eq!(decoded.map(|(header, _)| header.payload_len), Some(125));
        }
    }
}

#[test]
fn an_error_shown_by_a_prefix_is_never_taken_back() {
    let mut random = Random(3);
    for _ in 0..20_000 {
        let mut bytes = random.bytes(14);
        // Half of them with a long length, which chance alone makes rare.
        if random.below(2) == 0 {
            bytes[1] = bytes[1] & 0x80 | [126, 127][random.below(2)];
        }
        let whole = Header::decode(&bytes);
        for cut in 0..=bytes.len() {
            let part = Header::decode(&bytes[..cut]);
            assert!(part == Ok(None) || part == whole, "{bytes:x?} at {cut}");
        }
        // Fourteen bytes are enough for any header.
        assert_ne!(whole, Ok(None));
    }
}

/// T3: every boundary through a decoder, in both roles and with and without a limit.
#[test]
fn decoder_survives_every_declared_length() {
    const LIMIT: u64 = 1 << 20;
    for (role, mask) in [(Role::Server, true), (Role::Client, false)] {
        for limit in [Some(LIMIT as usize), None] {
            let config = Config::default().max_message_size(limit);
            let lengths = LENGTHS.into_iter().chain([LIMIT, LIMIT + 1, 1 << 62]);
            let overflows = [1 << 63, u64::MAX - 14, u64::MAX - 4, u64::MAX];
            for len in lengths.chain(overflows) {
                let bytes = wire(0x82, mask, len, field_of(len));
                let result = Decoder::new(role, &config).decode(&mut BytesMut::from(&bytes[..]));
                let size = limit.is_some() && len > LIMIT;
                let expected = match len {
                    0 => Ok(Some(crate::Event::Message(crate::Message::binary("")))),
                    len if len >= 1 << 63 => Err(ProtocolError::LengthOverflow(len)),
                    size_ if size => Err(ProtocolError::MessageTooBig {
                        size: size_,
                        limit: LIMIT,
                    }),
                    _ => Ok(None),
                };
                assert_eq!(result, expected, "{role:?} {limit:?} {len:#x}");
            }
        }
    }
}

#[test]
fn lengths_that_overflow_a_sum_are_rejected_after_a_first_fragment() {
    for (role, mask) in [(Role::Server, true), (Role::Client, false)] {
        let mut bytes = wire(0x02, mask, 5, 0);
        bytes.extend_from_slice(b"Hello");
        bytes.extend(wire(0x80, mask, (1 << 63) - 1, 8));
        let result = Decoder::new(role, &Config::default()).decode(&mut BytesMut::from(&bytes[..]));
        let (size, limit) = ((1 << 63) + 4, 1 << 20);
        assert_eq!(result, Err(ProtocolError::MessageTooBig { size, limit }));
    }
}
