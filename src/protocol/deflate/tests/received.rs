//! What is understood of a peer's messages, and what is refused.

use super::{blocks::*, *};
use crate::protocol::close::{CloseCode, CloseFrame};

const CORRUPT: Option<ProtocolError> = Some(ProtocolError::CorruptDeflate);

/// RFC 7692 §7.2.3.2: "Hello" again, which refers to the first one.
const HELLO_AGAIN: &[u8] = b"\xf2\x00\x11\x00\x00";
/// RFC 7692 §7.2.3.3: "Hello" in a block without compression.
const HELLO_STORED: &[u8] = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
/// RFC 7692 §7.2.3.4: "Hello" in a final block.
const HELLO_FINAL: &[u8] = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
/// RFC 7692 §7.2.3.5: "Hello" in two blocks.
const HELLO_IN_TWO: &[u8] = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";

fn matched(len: usize, distance: usize) -> [Symbol; 1] {
    [Symbol::Match { len, distance }]
}

/// A message of one block.
fn message_of(symbols: &[Symbol]) -> Vec<u8> {
    Blocks::default().fixed(false, symbols).message()
}

#[test]
fn examples_of_the_standard_are_hello() {
    for params in [takeover(), no_takeover()] {
        for payload in [HELLO_DEFLATED, HELLO_STORED, HELLO_FINAL, HELLO_IN_TWO] {
            for (role, peer) in ROLES {
                let decoded = decode(role, params, &[peer(TEXT, payload)]);
                assert_eq!(decoded, (vec![text("Hello")], None), "{payload:x?}");
            }
        }
    }
}

#[test]
fn frames_of_the_standard_are_hello() {
    // §7.2.3.1, in one frame and in two.
    let whole: &[u8] = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    let fragments: &[u8] = b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00";
    for frames in [whole, fragments] {
        let decoded = decode(Role::Client, takeover(), &[frames.to_vec()]);
        assert_eq!(decoded, (vec![text("Hello")], None));
    }
}

#[test]
fn second_message_refers_to_the_first_where_that_is_agreed_on() {
    for (role, peer) in ROLES {
        let frames = [peer(TEXT, HELLO_DEFLATED), peer(TEXT, HELLO_AGAIN)];
        let decoded = decode(role, takeover(), &frames);
        assert_eq!(decoded, (vec![text("Hello"), text("Hello")], None));
        let decoded = decode(role, no_takeover(), &frames);
        assert_eq!(decoded, (vec![text("Hello")], CORRUPT));
    }
}

#[test]
fn takeover_of_one_direction_is_not_that_of_the_other() {
    for (role, peer) in ROLES {
        for peer_takes_over in [false, true] {
            let params = DeflateParams {
                server_no_context_takeover: peer_takes_over == (role == Role::Server),
                client_no_context_takeover: peer_takes_over == (role == Role::Client),
                ..DeflateParams::default()
            };
            let frames = [peer(TEXT, HELLO_DEFLATED), peer(TEXT, HELLO_AGAIN)];
            let understood = decode(role, params, &frames).1.is_none();
            assert_eq!(understood, peer_takes_over, "{role:?}");
        }
    }
}

#[test]
fn message_refers_to_what_is_before_a_final_block_of_another_message() {
    for (role, peer) in ROLES {
        let unfinished = Blocks::default().fixed(true, &literals(b"Hello")).bytes();
        for payload in [HELLO_FINAL, &unfinished] {
            let frames = [
                peer(TEXT, HELLO_DEFLATED),
                peer(TEXT, payload),
                peer(TEXT, &message_of(&matched(10, 10))),
            ];
            let expected = ["Hello", "Hello", "HelloHello"].map(text).to_vec();
            assert_eq!(decode(role, takeover(), &frames), (expected, None));
        }
    }
}

#[test]
fn blocks_refer_to_what_is_before_a_final_block_of_the_same_message() {
    let payload = Blocks::default()
        .fixed(true, &literals(b"Hello"))
        .bytes()
        .into_iter()
        .chain(Blocks::default().fixed(false, &matched(10, 5)).message());
    let payload: Vec<_> = payload.collect();
    for (role, peer) in ROLES {
        for params in [takeover(), no_takeover()] {
            let decoded = decode(role, params, &[peer(TEXT, &payload)]);
            assert_eq!(decoded, (vec![text("HelloHelloHello")], None));
        }
    }
}

/// Some more than is decompressed in one piece, a final block, and what refers back over it.
#[test]
fn blocks_refer_across_a_final_block_however_much_is_before_it() {
    let around_a_chunk = [1, 2, 3, 30_000, 32_768].map(|less| (64 << 10) - less);
    let sizes = around_a_chunk
        .into_iter()
        .chain([0, 1, 2, 100, 40_000].map(|more| (64 << 10) + more));
    let mut random = Random(11);
    for size in sizes {
        let content = random.bytes(size);
        for distance in [1, 3, 32_768] {
            let mut blocks = Blocks::default();
            for part in content[..size - 5].chunks(65_535) {
                blocks = blocks.stored(false, part);
            }
            let mut payload = blocks.stored(true, &content[size - 5..]).bytes();
            payload.extend(message_of(&matched(100, distance)));
            let mut expected = content.clone();
            (size - distance..size - distance + 100).for_each(|at| expected.push(expected[at]));
            for params in [takeover(), no_takeover()] {
                let decoded = decode(Role::Client, params, &[from_server(BINARY, &payload)]);
                assert_eq!(decoded.1, None, "{size} bytes, {distance} back");
                assert!(decoded.0 == [binary(expected.clone())]);
            }
        }
    }
}

#[test]
fn empty_messages_are_understood() {
    let last_block = Blocks::default().fixed(true, &[]).bytes();
    // §7.2.3.6; a payload without a byte; an empty block of each kind.
    for payload in [
        b"\x00".to_vec(),
        b"".to_vec(),
        message_of(&[]),
        b"\x00\x00\x00\xff\xff\x00".to_vec(),
        last_block,
    ] {
        for (role, peer) in ROLES {
            for params in [takeover(), no_takeover()] {
                let frames = [
                    peer(TEXT, &payload),
                    peer(BINARY, &payload),
                    peer(TEXT, HELLO_DEFLATED),
                ];
                let expected = vec![text(""), binary(""), text("Hello")];
                assert_eq!(decode(role, params, &frames), (expected, None));
            }
        }
    }
}

/// All that a peer can say with compression, in one conversation.
fn conversation(peer: FromPeer) -> (Vec<u8>, Vec<Event>) {
    let bytes = [
        peer(TEXT, HELLO_DEFLATED),
        peer(0x81, b"plain"),
        peer(TEXT_BEGINS, &HELLO_AGAIN[..1]),
        peer(0x89, b"between"),
        peer(0x00, b""),
        peer(0x00, &HELLO_AGAIN[1..4]),
        peer(0x8a, b""),
        peer(0x80, &HELLO_AGAIN[4..]),
        peer(BINARY, b""),
        peer(0x02, b"Hel"),
        peer(0x80, b"lo"),
        peer(BINARY_BEGINS, b""),
        peer(0x80, HELLO_FINAL),
        peer(BINARY_BEGINS, HELLO_STORED),
        peer(0x80, b""),
        peer(TEXT, HELLO_IN_TWO),
        peer(TEXT, &message_of(&literals("wörld 😀".as_bytes()))),
        peer(TEXT, &message_of(&matched(11, 11))),
        peer(BINARY, &message_of(&matched(258, 30))),
        peer(0x88, b"\x03\xe8bye"),
    ];
    // The last one refers to what was compressed before it.
    let before = ["Hello"; 5].concat() + "wörld 😀wörld 😀";
    let last = before.as_bytes()[before.len() - 30..].iter().cycle();
    let last: Vec<_> = last.take(258).copied().collect();
    let events = vec![
        text("Hello"),
        text("plain"),
        Event::Ping("between".into()),
        Event::Pong("".into()),
        text("Hello"),
        binary(""),
        binary("Hello"),
        binary("Hello"),
        binary("Hello"),
        text("Hello"),
        text("wörld 😀"),
        text("wörld 😀"),
        binary(last),
        Event::Close(Some(CloseFrame::new(CloseCode::NORMAL, "bye"))),
    ];
    (bytes.concat(), events)
}

#[test]
fn any_cutting_of_the_input_gives_the_same_events() {
    let mut random = Random(5);
    for (role, peer) in ROLES {
        let (bytes, expected) = conversation(peer);
        let whole = assert_every_cut(&bytes, &mut random, || decoder(role, takeover()));
        assert_eq!(whole, (expected, None));
    }
}

#[test]
fn any_cutting_of_wrong_input_gives_the_same_error() {
    let mut random = Random(6);
    let good = Blocks::default().stored(false, b"Hello");
    let reserved_block = |blocks: Blocks| [blocks.bytes(), vec![0x06]].concat();
    let invalid_then_corrupt = reserved_block(Blocks::default().stored(false, b"ok\xff"));
    let final_then_corrupt = reserved_block(good.clone().stored(true, b"Hello"));
    for (role, peer) in ROLES {
        for wrong in [
            vec![peer(TEXT, &reserved_block(good.clone()))],
            vec![peer(TEXT, &invalid_then_corrupt)],
            vec![peer(BINARY, &final_then_corrupt)],
            vec![peer(TEXT, HELLO_AGAIN)],
            vec![peer(TEXT, &HELLO_DEFLATED[..5])],
            vec![peer(TEXT, HELLO_DEFLATED), peer(0xc9, b"")],
            vec![peer(TEXT_BEGINS, HELLO_DEFLATED), peer(0xc0, b"\x00")],
            vec![peer(TEXT_BEGINS, HELLO_DEFLATED), peer(0xc1, b"\x00")],
            vec![peer(TEXT_BEGINS, &HELLO_DEFLATED[..3]), peer(0x80, b"")],
        ] {
            let bytes = wrong.concat();
            let whole = assert_every_cut(&bytes, &mut random, || decoder(role, takeover()));
            assert!(whole.1.is_some(), "{wrong:x?}");
        }
    }
}

/// The output before a wrong block says more than that block does, in one piece as in many.
#[test]
fn too_much_output_before_a_wrong_block_is_too_big_however_it_is_cut() {
    let config = Config::default().max_message_size(19);
    for (size, too_big) in [(18, false), (19, true)] {
        let payload = [
            Blocks::default()
                .fixed(false, &[&literals(b"x")[..], &matched(size, 1)].concat())
                .stored(false, b"")
                .bytes(),
            vec![0x06],
        ]
        .concat();
        let frame = from_server(BINARY, &payload);
        let decoder = || Decoder::new(Role::Client, &config).deflate(takeover());
        let (_, error) = assert_every_cut(&frame, &mut Random(7), decoder);
        let expected = if too_big {
            ProtocolError::InflatedTooBig { limit: 19 }
        } else {
            ProtocolError::CorruptDeflate
        };
        assert_eq!(error, Some(expected));
    }
}

#[test]
fn message_that_ends_inside_a_block_is_1007() {
    let payloads = [
        HELLO_DEFLATED.to_vec(),
        message_of(&literals(b"Hello, hello")),
        HELLO_IN_TWO.to_vec(),
    ];
    for (role, peer) in ROLES {
        for payload in &payloads {
            for len in 1..payload.len() {
                // §7.2.3.5: the first block may stand alone.
                let at_end = payload == HELLO_IN_TWO && len == 4;
                let decoded = decode(role, takeover(), &[peer(BINARY, &payload[..len])]);
                let expected = if at_end { None } else { CORRUPT };
                assert_eq!(decoded.1, expected, "{:x?}", &payload[..len]);
            }
        }
    }
    assert_eq!(
        ProtocolError::CorruptDeflate.close_code(),
        CloseCode::INVALID_PAYLOAD
    );
}

#[test]
fn message_that_ends_inside_a_block_without_compression_is_1007() {
    let payload = Blocks::default().stored(false, &[7; 100]).message();
    for (role, peer) in ROLES {
        // The first byte by itself is an empty message.
        for len in 2..payload.len() {
            // The four bytes that are appended (§7.2.2) are just those that are missing.
            let expected = if len == 5 + 96 { None } else { CORRUPT };
            let decoded = decode(role, takeover(), &[peer(BINARY, &payload[..len])]);
            assert_eq!(decoded.1, expected, "{len} bytes");
        }
    }
}

#[test]
fn garbage_is_1007() {
    let with_final = |garbage: &[u8]| [&HELLO_FINAL[..7], garbage].concat();
    for (role, peer) in ROLES {
        for garbage in [
            vec![0x06],
            vec![0xff],
            vec![0xff; 1000],
            b"Hello".to_vec(),
            // The complement of the length is wrong.
            b"\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c\x6f\x00".to_vec(),
            with_final(b"\x06"),
            with_final(b"\xff\xff"),
            with_final(b"\x00\x00"),
            // A second final block, and garbage behind it.
            with_final(&with_final(b"\x07")),
        ] {
            for params in [takeover(), no_takeover()] {
                let decoded = decode(role, params, &[peer(BINARY, &garbage)]);
                assert_eq!(decoded, (vec![], CORRUPT), "{garbage:x?}");
            }
        }
    }
}

#[test]
fn rsv1_inside_a_message_or_on_a_control_frame_is_1002() {
    let reserved = Some(ProtocolError::ReservedBits);
    for (role, peer) in ROLES {
        for params in [takeover(), no_takeover()] {
            for first in [0xc8, 0xc9, 0xca] {
                assert_eq!(decode(role, params, &[peer(first, b"")]).1, reserved);
            }
            for begun in [TEXT_BEGINS, 0x01] {
                for continued in [0xc0, 0x40] {
                    let frames = [peer(begun, b""), peer(continued, b"\x00")];
                    assert_eq!(decode(role, params, &frames).1, reserved);
                }
            }
        }
    }
    assert_eq!(
        ProtocolError::ReservedBits.close_code(),
        CloseCode::PROTOCOL_ERROR
    );
}

#[test]
fn rsv1_without_agreement_is_1002_in_both_roles() {
    for (role, peer) in ROLES {
        let frame = peer(TEXT, HELLO_DEFLATED);
        let mut decoder = Decoder::new(role, &Config::default());
        let decoded = decode_all(&mut decoder, [&frame[..]]);
        assert_eq!(decoded, (vec![], Some(ProtocolError::ReservedBits)));
    }
}

#[test]
fn other_reserved_bits_are_1002_though_compression_is_agreed_on() {
    for (role, peer) in ROLES {
        for first in [0xe1, 0xd1, 0xf1, 0xa1, 0x91] {
            let decoded = decode(role, takeover(), &[peer(first, HELLO_DEFLATED)]);
            assert_eq!(decoded, (vec![], Some(ProtocolError::ReservedBits)));
        }
    }
}

/// Text that cannot become UTF-8, each with how many of its bytes show that.
const INVALID: [(&[u8], usize); 8] = [
    (b"ok\xff and more", 3),
    (b"\xc3x", 2),
    (b"caf\xc0\x80", 4),
    (b"\xe0\x80\x80", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xf0\x9f\x98x", 4),
    (b"\xf4\x90\x80\x80", 2),
    // Only the end of the message shows it.
    (b"caf\xc3", 5),
];

#[test]
fn text_that_inflates_to_invalid_utf8_is_1007_at_its_first_impossible_byte() {
    let invalid = Some(ProtocolError::InvalidUtf8);
    for (content, shows) in INVALID.into_iter().filter(|(text, at)| *at <= text.len()) {
        // Without compression each byte is there as soon as it has come.
        let payload = Blocks::default().stored(false, content).message();
        for (role, peer) in ROLES {
            let frame = peer(TEXT, &payload);
            let earliest = frame.len() - payload.len() + 5 + shows;
            let decoded = decode_all(&mut decoder(role, takeover()), [&frame[..earliest - 1]]);
            assert_eq!(decoded, (vec![], None), "{content:x?}");
            let decoded = decode_all(&mut decoder(role, takeover()), [&frame[..earliest]]);
            assert_eq!(decoded, (vec![], invalid.clone()), "{content:x?}");
        }
    }
}

#[test]
fn text_that_inflates_to_invalid_utf8_is_1007_at_every_cut() {
    let mut random = Random(8);
    for (content, _) in INVALID {
        let payload = message_of(&literals(content));
        for (role, peer) in ROLES {
            for frames in [
                peer(TEXT, &payload),
                [peer(TEXT_BEGINS, &payload[..2]), peer(0x80, &payload[2..])].concat(),
            ] {
                let decoded =
                    assert_every_cut(&frames, &mut random, || decoder(role, no_takeover()));
                let expected = (vec![], Some(ProtocolError::InvalidUtf8));
                assert_eq!(decoded, expected, "{content:x?}");
            }
            // The same as binary data is none of our business.
            let decoded = decode(role, no_takeover(), &[peer(BINARY, &payload)]);
            assert_eq!(decoded, (vec![binary(content)], None));
        }
    }
}

#[test]
fn message_refers_back_to_the_first_byte_and_no_further() {
    for (role, peer) in ROLES {
        for (distance, expected) in [(5, None), (6, CORRUPT)] {
            let frames = [
                peer(TEXT, HELLO_DEFLATED),
                peer(0x81, b"this is not remembered"),
                peer(TEXT, &message_of(&matched(3, distance))),
            ];
            assert_eq!(decode(role, takeover(), &frames).1, expected);
        }
        let frames = [peer(TEXT, &message_of(&matched(3, 1)))];
        assert_eq!(decode(role, takeover(), &frames).1, CORRUPT);
    }
}

#[test]
fn message_refers_back_as_far_as_the_agreed_window_and_no_further() {
    for bits in 8..=15 {
        let window = 1 << bits;
        let content = Random(9).bytes(window + 10);
        for (role, peer) in ROLES {
            // The other direction has another window.
            let (server, client) = match role {
                Role::Client => (bits, 23 - bits),
                Role::Server => (23 - bits, bits),
            };
            let params = DeflateParams {
                server_max_window_bits: server,
                client_max_window_bits: client,
                ..DeflateParams::default()
            };
            let first = Blocks::default().stored(false, &content[..window / 2]);
            let second = Blocks::default().stored(false, &content[window / 2..]);
            for (distance, expected) in [(window, None), (window + 1, CORRUPT)] {
                if distance > 32 << 10 {
                    continue;
                }
                let frames = [
                    peer(BINARY, &first.clone().message()),
                    peer(BINARY, &second.clone().message()),
                    peer(BINARY, &message_of(&matched(3, distance))),
                ];
                let decoded = decode(role, params, &frames);
                assert_eq!(decoded.1, expected, "{bits} bits, {distance} back");
                if expected.is_none() {
                    assert_eq!(decoded.0[2], binary(&content[10..13]));
                }
            }
        }
    }
}

#[test]
fn connections_of_one_thread_share_no_state() {
    for (role, peer) in ROLES {
        for begun in [true, false] {
            // It is dropped inside a message, or between two.
            let first = if begun { TEXT_BEGINS } else { TEXT };
            let mut other = decoder(role, takeover());
            decode_all(&mut other, [&peer(first, HELLO_DEFLATED)[..]]);
            drop(other);
            for params in [takeover(), no_takeover()] {
                let decoded = decode(role, params, &[peer(TEXT, HELLO_AGAIN)]);
                assert_eq!(decoded, (vec![], CORRUPT));
                // A wrong message leaves nothing behind either.
                let decoded = decode(role, params, &[peer(TEXT, HELLO_DEFLATED)]);
                assert_eq!(decoded, (vec![text("Hello")], None));
            }
        }
    }
}

#[test]
fn messages_of_many_connections_arrive_side_by_side() {
    for (role, peer) in ROLES {
        for params in [takeover(), no_takeover()] {
            let decoder = || (decoder(role, params), BytesMut::new());
            let mut decoders: Vec<_> = (0..20).map(|_| decoder()).collect();
            for round in 0..5 {
                let content = |index: usize| format!("{index}, {round}, {index}").repeat(10);
                let frames: Vec<_> = (0..decoders.len())
                    .map(|index| peer(TEXT, &message_of(&literals(content(index).as_bytes()))))
                    .collect();
                let longest = frames.iter().map(Vec::len).max().expect("there are some");
                for at in 0..longest {
                    for (index, (decoder, input)) in decoders.iter_mut().enumerate() {
                        let byte = frames[index].get(at);
                        input.extend(byte);
                        let is_last = byte.is_some() && at + 1 == frames[index].len();
                        let expected = is_last.then(|| text(&content(index)));
                        assert_eq!(decoder.decode(input), Ok(expected));
                    }
                }
            }
        }
    }
}

#[test]
fn compressed_payload_is_not_read_directly() {
    // What is read directly would pass by the decompressor.
    let mut decoder = decoder(Role::Client, takeover());
    let content = Random(10).bytes(10_000);
    let frame = from_server(BINARY, &Blocks::default().stored(false, &content).message());
    assert_eq!(decode_all(&mut decoder, [&frame[..100]]), (vec![], None));
    assert!(decoder.payload_buffer().is_none());
    let decoded = decode_all(&mut decoder, [&frame[100..]]);
    assert_eq!(decoded, (vec![binary(content)], None));
}
