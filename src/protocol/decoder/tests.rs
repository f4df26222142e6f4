//! Order, role and size; every cut; what is held in memory.

use bytes::BufMut;

use super::*;
use crate::{CloseCode, protocol::test_support::*};

fn server(config: &Config) -> Decoder {
    Decoder::new(Role::Server, config)
}

fn client(config: &Config) -> Decoder {
    Decoder::new(Role::Client, config)
}

fn limited(bytes: usize) -> Config {
    Config::default().max_message_size(bytes)
}

fn text(text: &str) -> Event {
    Event::Message(Message::text(text))
}

fn binary(payload: &[u8]) -> Event {
    Event::Message(payload.into())
}

type FromPeer = fn(u8, &[u8]) -> Vec<u8>;

/// Each role with what writes its peer's frames.
const ROLES: [(Role, FromPeer); 2] = [(Role::Server, from_client), (Role::Client, from_server)];

/// What a decoder of `role` makes of `frames` in one piece, with the default settings.
fn decode(role: Role, frames: &[Vec<u8>]) -> (Vec<Event>, Option<ProtocolError>) {
    decode_all(
        &mut Decoder::new(role, &Config::default()),
        [&frames.concat()[..]],
    )
}

/// All that a peer can say, in one conversation.
fn conversation(peer: FromPeer) -> Vec<u8> {
    [
        peer(0x81, "Hello, wörld".as_bytes()),
        peer(0x81, b""),
        peer(0x82, &[7; 300]),
        peer(0x01, b"\xf0\x9f"),
        peer(0x89, b"between"),
        peer(0x00, b""),
        peer(0x00, b"\x98"),
        peer(0x8a, b""),
        peer(0x80, b"\x80!"),
        peer(0x02, b""),
        peer(0x80, b""),
        peer(0x02, &[8; 130]),
        peer(0x80, &[9; 130]),
        peer(0x88, b"\x03\xe8bye"),
    ]
    .concat()
}

#[test]
fn examples_of_the_standard_are_events() {
    let config = Config::default();
    let hello = vec![text("Hello")];
    for pieces in [&[HELLO][..], &[HEL, LO]] {
        let decoded = decode_all(&mut client(&config), pieces.iter().copied());
        assert_eq!(decoded, (hello.clone(), None));
    }
    let masked = decode_all(&mut server(&config), [MASKED_HELLO]);
    assert_eq!(masked, (hello, None));
    let ping = decode_all(&mut client(&config), [PING_HELLO]);
    assert_eq!(ping, (vec![Event::Ping("Hello".into())], None));
    let pong = decode_all(&mut server(&config), [MASKED_PONG_HELLO]);
    assert_eq!(pong, (vec![Event::Pong("Hello".into())], None));
}

#[test]
fn conversation_is_decoded_in_order() {
    for (role, peer) in ROLES {
        let expected = vec![
            text("Hello, wörld"),
            text(""),
            binary(&[7; 300]),
            Event::Ping("between".into()),
            Event::Pong("".into()),
            text("😀!"),
            binary(b""),
            binary(&[[8; 130], [9; 130]].concat()),
            Event::Close(Some(CloseFrame::new(CloseCode::NORMAL, "bye"))),
        ];
        assert_eq!(decode(role, &[conversation(peer)]), (expected, None));
    }
}

#[test]
fn any_cutting_of_the_input_gives_the_same_events() {
    let mut random = Random(5);
    for (role, peer) in ROLES {
        let bytes = conversation(peer);
        let whole = decode(role, std::slice::from_ref(&bytes));
        let decoder = || Decoder::new(role, &Config::default());
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(
                decode_all(&mut decoder(), [first, second]),
                whole,
                "cut at {cut}"
            );
        }
        for size in 1..20 {
            assert_eq!(
                decode_all(&mut decoder(), bytes.chunks(size)),
                whole,
                "by {size}"
            );
        }
        for _ in 0..200 {
            let pieces = random.cut(&bytes, 200);
            assert_eq!(decode_all(&mut decoder(), pieces), whole);
        }
    }
}

#[test]
fn any_cutting_of_wrong_input_gives_the_same_error() {
    for (role, peer) in ROLES {
        for wrong in [
            vec![peer(0x80, b"x")],
            vec![peer(0x01, b"x"), peer(0x81, b"x")],
            vec![peer(0x81, b"ok"), peer(0xc1, b"x")],
            vec![peer(0x81, b"caf\xc3")],
            vec![peer(0x01, b"caf\xc3"), peer(0x80, b"x")],
            vec![peer(0x88, b"\x03")],
            vec![peer(0x88, b"\x03\xed")],
            vec![peer(0x88, b"\x03\xe8\xff")],
            vec![peer(0x09, b"")],
            vec![vec![0x8b, 0x80]],
        ] {
            let whole = decode(role, &wrong);
            assert!(whole.1.is_some(), "{wrong:x?}");
            let bytes = wrong.concat();
            for cut in 0..=bytes.len() {
                let (first, second) = bytes.split_at(cut);
                let mut decoder = Decoder::new(role, &Config::default());
                assert_eq!(decode_all(&mut decoder, [first, second]), whole, "{cut}");
            }
        }
    }
}

#[test]
fn server_rejects_unmasked_frame_at_every_cut() {
    for frame in [
        from_server(0x81, b"Hello"),
        from_server(0x89, b""),
        from_server(0x82, &[0; 200]),
    ] {
        for cut in 0..=frame.len() {
            let (first, second) = frame.split_at(cut);
            let decoded = decode_all(&mut server(&Config::default()), [first, second]);
            assert_eq!(
                decoded,
                (vec![], Some(ProtocolError::UnmaskedFrame)),
                "{cut}"
            );
        }
    }
}

#[test]
fn client_rejects_masked_frame_at_every_cut() {
    for frame in [
        from_client(0x81, b"Hello"),
        from_client(0x89, b""),
        from_client(0x82, &[0; 200]),
    ] {
        for cut in 0..=frame.len() {
            let (first, second) = frame.split_at(cut);
            let decoded = decode_all(&mut client(&Config::default()), [first, second]);
            assert_eq!(decoded, (vec![], Some(ProtocolError::MaskedFrame)), "{cut}");
        }
    }
}

#[test]
fn rsv1_without_an_extension_is_rejected_by_both_roles() {
    for (role, peer) in ROLES {
        for first in [0xc1, 0xc2, 0x41] {
            let error = Some(ProtocolError::ReservedBits);
            assert_eq!(decode(role, &[peer(first, b"x")]), (vec![], error.clone()));
        }
        let continued = decode(role, &[peer(0x01, b"x"), peer(0xc0, b"x")]);
        assert_eq!(continued.1, Some(ProtocolError::ReservedBits));
    }
}

#[test]
fn continuation_without_a_message_is_rejected() {
    for (role, peer) in ROLES {
        for frames in [
            vec![peer(0x80, b"x")],
            vec![peer(0x00, b"")],
            vec![peer(0x81, b"x"), peer(0x80, b"x")],
            vec![peer(0x01, b"x"), peer(0x80, b"x"), peer(0x80, b"x")],
            vec![peer(0x89, b"x"), peer(0x80, b"x")],
        ] {
            assert_eq!(
                decode(role, &frames).1,
                Some(ProtocolError::UnexpectedContinuation)
            );
        }
    }
}

#[test]
fn message_inside_a_message_is_rejected() {
    for (role, peer) in ROLES {
        for second in [0x81, 0x82, 0x01, 0x02] {
            let frames = [peer(0x01, b""), peer(0x89, b""), peer(second, b"x")];
            let expected = (
                vec![Event::Ping("".into())],
                Some(ProtocolError::ExpectedContinuation),
            );
            assert_eq!(decode(role, &frames), expected);
        }
    }
}

#[test]
fn close_frames_are_checked() {
    for (role, peer) in ROLES {
        let close = |payload: &[u8]| decode(role, &[peer(0x88, payload)]);
        assert_eq!(close(b""), (vec![Event::Close(None)], None));
        assert_eq!(close(b"\x03").1, Some(ProtocolError::TruncatedCloseCode));
        assert_eq!(
            close(b"\x03\xee").1,
            Some(ProtocolError::InvalidCloseCode(1006))
        );
        assert_eq!(close(b"\x03\xe8\xc3").1, Some(ProtocolError::InvalidUtf8));
    }
}

#[test]
fn messages_in_one_frame_arrive_as_they_were_sent_whatever_their_length() {
    for (role, peer) in ROLES {
        for len in (0..130).chain(1000..1030).chain([65_535, 65_536]) {
            let text: String = ('a'..='z').cycle().take(len).collect();
            let frames = [peer(0x81, text.as_bytes()), peer(0x82, text.as_bytes())];
            let binary = Message::binary(text.clone());
            let expected = [Message::text(text), binary].map(Event::Message);
            assert_eq!(decode(role, &frames), (expected.into(), None), "{len}");
        }
    }
}

#[test]
fn message_of_the_limit_passes_and_one_byte_more_fails() {
    let error = Some(ProtocolError::MessageTooBig {
        size: 101,
        limit: 100,
    });
    for (role, peer) in ROLES {
        let all = |frames: &[Vec<u8>]| {
            decode_all(
                &mut Decoder::new(role, &limited(100)),
                [&frames.concat()[..]],
            )
        };
        assert_eq!(
            all(&[peer(0x82, &[1; 100])]),
            (vec![binary(&[1; 100])], None)
        );
        assert_eq!(all(&[peer(0x82, &[1; 101])]), (vec![], error.clone()));
        let fragments = |last| {
            [
                peer(0x02, &[1; 60]),
                peer(0x00, b""),
                peer(0x80, &vec![1; last]),
            ]
        };
        assert_eq!(all(&fragments(40)), (vec![binary(&[1; 100])], None));
        assert_eq!(all(&fragments(41)), (vec![], error.clone()));
    }
}

#[test]
fn message_too_big_fails_on_its_header() {
    let decoded = decode_all(&mut client(&limited(100)), [&b"\x82\x65"[..]]);
    assert_eq!(
        decoded.1,
        Some(ProtocolError::MessageTooBig {
            size: 101,
            limit: 100
        })
    );
}

#[test]
fn frame_of_the_limit_passes_and_one_byte_more_fails() {
    let config = Config::default().max_frame_size(10);
    let fragments = [from_server(0x02, &[1; 10]), from_server(0x80, &[1; 10])].concat();
    let decoded = decode_all(&mut client(&config), [&fragments[..]]);
    assert_eq!(decoded, (vec![binary(&[1; 20])], None));
    let decoded = decode_all(&mut client(&config), [&from_server(0x82, &[1; 11])[..]]);
    assert_eq!(
        decoded.1,
        Some(ProtocolError::FrameTooBig {
            size: 11,
            limit: 10
        })
    );
    let ping = decode_all(
        &mut client(&config),
        [PING_HELLO, &from_server(0x89, &[1; 125])],
    );
    assert_eq!((ping.0.len(), ping.1), (2, None));
}

#[test]
fn fragments_of_the_limit_pass_and_one_more_fails() {
    let fragments = |count: usize| {
        let mut frames = vec![from_server(0x02, b"")];
        frames.resize(count - 1, from_server(0x00, b""));
        frames.push(from_server(0x80, b"x"));
        frames.concat()
    };
    let by_size = Config::default().max_message_size(1 << 20); // 2^20 / 64 = 16,384
    for (config, limit) in [
        (Config::default().max_fragments(3), 3),
        (limited(100), 1024),
        (by_size, 16_384),
    ] {
        let passed = decode_all(&mut client(&config), [&fragments(limit)[..]]);
        assert_eq!(passed, (vec![binary(b"x")], None));
        let failed = decode_all(&mut client(&config), [&fragments(limit + 1)[..]]);
        let limit = limit as u64;
        assert_eq!(
            failed,
            (vec![], Some(ProtocolError::TooManyFragments { limit }))
        );
    }
}

#[test]
fn fragments_are_counted_for_each_message_anew() {
    let config = Config::default().max_fragments(2);
    let bytes = [HEL, PING_HELLO, LO].concat().repeat(5);
    let (events, error) = decode_all(&mut client(&config), [&bytes[..]]);
    assert_eq!((events.len(), error), (10, None));
}

#[test]
fn nothing_is_decoded_after_an_error() {
    for (role, peer) in ROLES {
        let mut decoder = Decoder::new(role, &Config::default());
        assert!(
            decode_all(&mut decoder, [&peer(0x80, b"x")[..]])
                .1
                .is_some()
        );
        let mut input = BytesMut::from(&conversation(peer)[..]);
        assert_eq!(decoder.decode(&mut input), Ok(None));
        assert!(input.is_empty());
    }
}

#[test]
fn failed_decoder_holds_no_memory_and_takes_no_payload() {
    let mut decoder = client(&Config::default().max_message_size(None));
    let mut input = BytesMut::from(&b"\x01\x7f\0\0\0\0\x7f\0\0\0"[..]);
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert!(decoder.payload_buffer().is_some());
    input.extend_from_slice(b"\xff");
    assert_eq!(decoder.decode(&mut input), Err(ProtocolError::InvalidUtf8));
    assert!(decoder.payload_buffer().is_none());
    assert!(!decoder.is_message_open());
    assert_eq!(decoder.frame_in_progress(0), None);
}

#[test]
fn text_fails_at_the_first_impossible_byte_of_an_unfinished_frame() {
    // Autobahn 6.4.3: the frame goes on after the wrong byte, and never comes.
    let wrong = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited";
    for (role, peer) in ROLES {
        let frame = peer(0x81, wrong);
        let first_impossible = frame.len() - wrong.len() + 12;
        let mut decoder = Decoder::new(role, &Config::default());
        let mut input = BytesMut::new();
        for (index, byte) in frame.iter().enumerate() {
            input.extend_from_slice(&[*byte]);
            let result = decoder.decode(&mut input);
            let error = Err(ProtocolError::InvalidUtf8);
            assert_eq!(
                result,
                if index == first_impossible {
                    error
                } else {
                    Ok(None)
                }
            );
            if index == first_impossible {
                break;
            }
        }
    }
}

#[test]
fn text_fails_in_the_fragment_with_the_impossible_byte() {
    for (role, peer) in ROLES {
        // Autobahn 6.4.1: in the second of three fragments.
        let frames = [
            peer(0x01, b"\xce\xba\xf4"),
            peer(0x00, b"\x90"),
            peer(0x80, b""),
        ];
        let mut decoder = Decoder::new(role, &Config::default());
        let (first, second) = (&frames[0][..], &frames[1][..]);
        assert_eq!(decode_all(&mut decoder, [first]), (vec![], None));
        assert_eq!(
            decode_all(&mut decoder, [second]).1,
            Some(ProtocolError::InvalidUtf8)
        );
    }
}

#[test]
fn text_that_ends_inside_a_character_fails() {
    for (role, peer) in ROLES {
        for frames in [
            vec![peer(0x81, b"\xc3")],
            vec![peer(0x01, b"\xc3"), peer(0x80, b"")],
        ] {
            assert_eq!(
                decode(role, &frames),
                (vec![], Some(ProtocolError::InvalidUtf8))
            );
        }
    }
}

#[test]
fn binary_need_not_be_utf8() {
    for (role, peer) in ROLES {
        let frames = [peer(0x02, b"\xff"), peer(0x80, b"\xc3")];
        assert_eq!(decode(role, &frames), (vec![binary(b"\xff\xc3")], None));
    }
}

#[test]
fn what_stays_in_the_input_is_short() {
    for (role, peer) in ROLES {
        let bytes = [
            conversation(peer),
            peer(0x89, &[1; 125]),
            peer(0x82, &[1; 70_000]),
        ]
        .concat();
        let mut decoder = Decoder::new(role, &Config::default());
        let mut input = BytesMut::new();
        let mut longest = 0;
        for byte in &bytes {
            input.extend_from_slice(&[*byte]);
            while decoder.decode(&mut input).expect("valid").is_some() {}
            longest = longest.max(input.len());
        }
        // All but the last byte of the longest control frame.
        assert_eq!(longest, if role == Role::Server { 130 } else { 126 });
    }
}

#[test]
fn small_message_does_not_pin_the_input() {
    let mut input = BytesMut::with_capacity(1 << 16);
    input.extend_from_slice(HELLO);
    let range = input.as_ptr_range();
    let event = client(&Config::default()).decode(&mut input);
    let Ok(Some(Event::Message(message))) = event else {
        panic!("{event:?}");
    };
    assert!(!range.contains(&message.as_bytes().as_ptr()));
}

/// T2: 2^62 bytes declared without any limit, and a few sent.
#[test]
fn huge_declared_length_reserves_no_memory() {
    let config = Config::default().max_message_size(None);
    for (role, mask) in [(Role::Server, 0x80), (Role::Client, 0)] {
        for first in [0x81, 0x82, 0x01, 0x02] {
            let mut decoder = Decoder::new(role, &config);
            let mut bytes = vec![first, 127 | mask];
            bytes.extend((1_u64 << 62).to_be_bytes());
            bytes.extend_from_slice(if mask == 0 { &[] } else { &[0; 4] });
            assert_eq!(decode_all(&mut decoder, [&bytes[..]]), (vec![], None));
            assert_eq!(capacity(&decoder), 0);
            assert_eq!(decode_all(&mut decoder, [&b"x"[..]]), (vec![], None));
            assert!(capacity(&decoder) <= 256);
            let space = decoder
                .payload_buffer()
                .expect("much is to come")
                .remaining_mut();
            assert!((1..=256).contains(&space));
        }
    }
}

fn capacity(decoder: &Decoder) -> usize {
    decoder
        .state
        .open()
        .as_ref()
        .map_or(0, |open| open.payload.capacity())
}

/// Feeds `frames` and gives the most memory that was held at once, and the bytes that were moved,
/// counting a payload that grows as there twice.
fn watch(decoder: &mut Decoder, frames: impl Iterator<Item = Vec<u8>>) -> (usize, usize) {
    let (mut peak, mut moved) = (0, 0);
    let mut input = BytesMut::new();
    for frame in frames {
        let before = decoder
            .state
            .open()
            .as_ref()
            .map_or(0, |open| open.payload.len());
        let old = capacity(decoder);
        input.extend_from_slice(&frame);
        if decoder.decode(&mut input).expect("valid frames").is_some() {
            break;
        }
        let new = capacity(decoder);
        if new != old {
            peak = peak.max(old + new);
            moved += before;
        }
    }
    (peak, moved)
}

/// T4, T5, T6: one byte at a time, in as many fragments or in one frame.
#[test]
fn dribbled_message_is_held_once_and_moved_little() {
    // Sizes just above a power of two make doubling overshoot most.
    for limit in [75 << 10, (64 << 10) + 1, 128 << 10] {
        let config = limited(limit).max_fragments(usize::MAX);
        let fragments = (0..limit).map(|i| from_server(if i == 0 { 2 } else { 0 }, b"x"));
        let (peak, moved) = watch(&mut client(&config), fragments);
        assert!(peak <= 2 * limit, "{peak} of {limit}");
        assert!(moved <= 2 * limit, "{moved} of {limit}");
        let header = from_server(0x82, &vec![0; limit])[..10].to_vec();
        let dribble = std::iter::once(header).chain((0..limit).map(|_| b"x".to_vec()));
        let (peak, moved) = watch(&mut client(&config), dribble);
        assert!(peak <= 2 * limit, "{peak} of {limit}");
        assert!(moved <= 2 * limit, "{moved} of {limit}");
    }
}

/// What has come of a large frame is not copied: an allocator doubles in place, or moves pages.
#[test]
fn large_frame_grows_by_doubling_to_its_length() {
    for len in [3 << 20, (3 << 20) + 5, 4 << 20, 6_000_001] {
        for read in [64 << 10, (64 << 10) - 14, 20_000] {
            let config = Config::default().max_message_size(len);
            let mut decoder = client(&config);
            let mut capacities = Vec::new();
            let mut input = BytesMut::new();
            let frame = from_server(0x82, &vec![0; len]);
            for bytes in frame.chunks(read) {
                input.extend_from_slice(bytes);
                let _event = decoder.decode(&mut input).expect("valid frames");
                capacities.push(capacity(&decoder));
            }
            capacities.pop();
            capacities.dedup();
            let [.., last] = capacities[..] else {
                panic!("it has grown");
            };
            assert!((len..len + len / 16).contains(&last), "{last} for {len}");
            for pair in capacities[1..].windows(2) {
                let doubled = 2 * pair[0];
                assert!(pair[1] + pair[1] / 16 >= doubled, "{len}: {capacities:?}");
            }
        }
    }
}

/// T6: nothing is looked at twice.
#[test]
fn payload_is_unmasked_and_validated_once() {
    let mut decoder = server(&Config::default());
    let frame = from_client(0x81, "ö".repeat(1000).as_bytes());
    let mut input = BytesMut::new();
    for (index, byte) in frame[..frame.len() - 1].iter().enumerate() {
        input.extend_from_slice(&[*byte]);
        assert_eq!(decoder.decode(&mut input), Ok(None));
        if let Some(open) = decoder.state.open() {
            assert_eq!(open.processed, index - 7);
            assert_eq!(open.processed, open.payload.len());
        }
    }
}

/// Feeds a frame through `payload_buffer` wherever there is one, reading `step` bytes at most.
fn decode_direct(decoder: &mut Decoder, mut bytes: &[u8], step: usize) -> (Vec<Event>, usize) {
    let (mut events, mut direct) = (Vec::new(), 0);
    let mut input = BytesMut::new();
    while !bytes.is_empty() {
        let mut len = step.min(bytes.len());
        let buffer = if input.is_empty() {
            decoder.payload_buffer()
        } else {
            None
        };
        if let Some(mut buffer) = buffer {
            len = len.min(buffer.remaining_mut());
            assert!(len > 0, "a buffer has room");
            buffer.put_slice(&bytes[..len]);
            direct += len;
        } else {
            input.extend_from_slice(&bytes[..len]);
        }
        bytes = &bytes[len..];
        while let Some(event) = decoder.decode(&mut input).expect("valid frames") {
            events.push(event);
        }
    }
    (events, direct)
}

#[test]
fn reading_payloads_directly_gives_the_same_events() {
    for (role, peer) in ROLES {
        let long = "aßc€😀".repeat(1500);
        let bytes = [
            peer(0x81, long.as_bytes()),
            peer(0x89, b"between"),
            peer(0x01, long.as_bytes()),
            peer(0x8a, b""),
            peer(0x80, long.as_bytes()),
            peer(0x82, &[3; 4096]),
            peer(0x82, &[4; 4095]),
        ]
        .concat();
        let expected = decode(role, std::slice::from_ref(&bytes)).0;
        assert_eq!(expected.len(), 6);
        for step in [1, 2, 3, 7, 100, 4095, 4096, 4097, 10_000, bytes.len() - 1] {
            let mut decoder = Decoder::new(role, &Config::default());
            let (events, direct) = decode_direct(&mut decoder, &bytes, step);
            assert_eq!(events, expected, "by {step}");
            assert!(direct > 0 || step > 10_000, "by {step}");
        }
    }
}

#[test]
fn every_cut_before_the_direct_path_gives_the_same_message() {
    for (role, peer) in ROLES {
        let long = "aßc€😀".repeat(500);
        let frame = peer(0x81, long.as_bytes());
        let header = frame.len() - long.len();
        for cut in (header..header + 40).chain([frame.len() - 4097, frame.len() - 4096]) {
            let mut decoder = Decoder::new(role, &Config::default());
            let (first, mut rest) = frame.split_at(cut);
            assert_eq!(decode_all(&mut decoder, [first]), (vec![], None));
            let mut events = Vec::new();
            while events.is_empty() {
                // Twice before it is decoded: the second finds less room.
                for _ in 0..2 {
                    if let Some(mut buffer) = decoder.payload_buffer() {
                        let len = buffer.remaining_mut().min(rest.len());
                        buffer.put_slice(&rest[..len]);
                        rest = &rest[len..];
                    }
                }
                let mut input = BytesMut::new();
                if decoder.payload_buffer().is_none() {
                    input.extend_from_slice(rest);
                }
                events.extend(decoder.decode(&mut input).expect("valid"));
            }
            assert_eq!(events, [text(&long)], "cut at {cut}");
        }
    }
}

#[test]
fn payload_buffer_never_reaches_past_the_frame() {
    for len in [4096, 5000, 70_000] {
        let mut decoder = client(&Config::default());
        let frame = from_server(0x02, &vec![1; len]);
        let header = frame.len() - len;
        assert_eq!(decode_all(&mut decoder, [&frame[..header]]), (vec![], None));
        let mut put = 0;
        while let Some(mut buffer) = decoder.payload_buffer() {
            let space = buffer.remaining_mut();
            buffer.put_bytes(1, space);
            put += space;
            assert!(put <= len);
        }
        assert!(len - put < 4096);
        assert_eq!(
            decode_all(&mut decoder, [&frame[header + put..]]),
            (vec![], None)
        );
        let last = decode_all(&mut decoder, [&b"\x80\x00"[..]]);
        assert_eq!(last.0, [binary(&vec![1; len])]);
    }
}

#[test]
fn payload_buffer_is_for_large_payloads_only() {
    for (len, direct) in [(4095, false), (4096, true)] {
        let mut decoder = client(&Config::default());
        assert!(decoder.payload_buffer().is_none());
        let header = [b"\x82\x7e", &(len as u16).to_be_bytes()[..]].concat();
        assert_eq!(decode_all(&mut decoder, [&header[..]]), (vec![], None));
        assert_eq!(decoder.payload_buffer().is_some(), direct, "{len}");
    }
}

#[test]
fn message_is_open_from_its_first_header_to_its_last_byte() {
    let mut decoder = client(&Config::default());
    let mut open = |bytes: &[u8]| {
        decode_all(&mut decoder, [bytes]);
        decoder.is_message_open()
    };
    assert!(!open(b""));
    assert!(open(HEL));
    assert!(open(PING_HELLO));
    assert!(open(&LO[..3]));
    assert!(!open(&LO[3..]));
    assert!(!open(HELLO));
}

#[test]
fn frame_in_progress_is_told_from_its_neighbours() {
    let mut decoder = client(&Config::default());
    let mut input = BytesMut::new();
    let mut numbers = Vec::new();
    let frames = [HEL, PING_HELLO, LO, HELLO];
    for frame in frames {
        for byte in frame {
            input.extend_from_slice(&[*byte]);
            while decoder.decode(&mut input).expect("valid").is_some() {}
            let progress = decoder.frame_in_progress(input.len());
            numbers.push(progress.map(|frame| frame.number));
        }
    }
    let expected = frames.iter().zip(1..).flat_map(|(frame, number)| {
        let unfinished = vec![Some(number); frame.len() - 1];
        unfinished.into_iter().chain([None])
    });
    assert!(numbers.into_iter().eq(expected));
}

/// What a decoder that streams makes of input that comes in parts: the events, with the pieces of
/// each message put together, and how many pieces there were.
#[cfg(feature = "layer")]
fn stream(
    config: &Config,
    parts: &[&[u8]],
) -> Result<(Vec<Event>, usize), (Vec<Event>, ProtocolError)> {
    let limits = Limits::new(config);
    let mut state = DecoderState::new(Role::Server);
    let (mut input, mut events, mut open) = (BytesMut::new(), vec![], BytesMut::new());
    let mut pieces = 0;
    for part in parts {
        input.extend_from_slice(part);
        loop {
            match state.decode(&limits, &mut input, &mut { usize::MAX }) {
                Ok(None) => break,
                Ok(Some(Decoded::Event(event))) => events.push(event),
                Ok(Some(Decoded::Piece(piece))) => {
                    assert!(!piece.payload.is_empty() || piece.last);
                    pieces += 1;
                    open.extend_from_slice(&piece.payload);
                    if piece.last {
                        let payload = open.split().freeze();
                        let opcode = if piece.is_text {
                            Opcode::Text
                        } else {
                            Opcode::Binary
                        };
                        let event = open_message::message(opcode, payload);
                        events.push(event.expect("it was validated"));
                    }
                }
                Err(error) => return Err((events, error)),
            }
        }
    }
    Ok((events, pieces))
}

#[cfg(feature = "layer")]
#[test]
fn any_cutting_of_a_streamed_conversation_gives_the_same_events() {
    let input = conversation(from_client);
    let config = Config::default().streaming(true);
    let (whole, _) = decode(Role::Server, std::slice::from_ref(&input));
    for cut in 0..=input.len() {
        let (a, b) = input.split_at(cut);
        let (events, _) = stream(&config, &[a, b]).expect("it is valid");
        // Control frames keep their places between the ends of messages.
        assert_eq!(events, whole, "cut at {cut}");
    }
    let bytes: Vec<_> = input.chunks(1).collect();
    let (events, pieces) = stream(&config, &bytes).expect("it is valid");
    assert_eq!(events, whole);
    assert!(pieces > 300, "{pieces}");
}

#[cfg(feature = "layer")]
#[test]
fn streamed_text_fails_at_the_first_impossible_byte_wherever_it_is_cut() {
    let input = [
        from_client(0x01, b"ab\xc3"),
        from_client(0x80, b"\xffnever"),
    ]
    .concat();
    let config = Config::default().streaming(true);
    for cut in 0..=input.len() {
        let (a, b) = input.split_at(cut);
        let (events, error) = stream(&config, &[a, b]).expect_err("it is no text");
        assert!(events.is_empty());
        assert_eq!(error.close_code(), CloseCode::INVALID_PAYLOAD);
    }
}

#[cfg(feature = "layer")]
#[test]
fn streamed_message_of_the_limit_passes_and_one_byte_more_does_not() {
    let config = Config::default().streaming(true).max_message_size(1);
    let config = config.max_stream_size(10);
    for (last, passes) in [(&b"fghij"[..], true), (b"fghijk", false)] {
        let input = [from_client(0x02, b"abcde"), from_client(0x80, last)].concat();
        for cut in 0..=input.len() {
            let (a, b) = input.split_at(cut);
            match stream(&config, &[a, b]) {
                Ok((events, _)) => assert!(passes && events == [binary(b"abcdefghij")]),
                Err((_, error)) => {
                    assert!(!passes);
                    let expected = ProtocolError::MessageTooBig {
                        size: 11,
                        limit: 10,
                    };
                    assert_eq!(error, expected);
                }
            }
        }
    }
}

#[cfg(feature = "layer")]
#[test]
fn room_for_what_is_streamed_is_earned_by_what_came() {
    let limits = Limits::new(&Config::default().streaming(true));
    let mut state = DecoderState::new(Role::Server);
    let frame = from_client(0x82, &vec![7; 1 << 20]);
    let mut input = BytesMut::from(&frame[..14]);
    assert!(
        state
            .decode(&limits, &mut input, &mut { usize::MAX })
            .expect("valid")
            .is_none()
    );
    let (mut taken, mut rooms) = (14, vec![]);
    while let Some(mut buffer) = state.payload_buffer(&limits) {
        let room = buffer.remaining_mut().min(frame.len() - taken);
        buffer.put_slice(&frame[taken..taken + room]);
        rooms.push(room);
        taken += room;
        while let Some(decoded) = state
            .decode(&limits, &mut input, &mut { usize::MAX })
            .expect("valid")
        {
            drop(decoded);
        }
    }
    assert_eq!(rooms[0], 4 << 10);
    assert!(rooms.iter().all(|room| *room <= 64 << 10), "{rooms:?}");
    assert!(rooms.len() < 32, "{rooms:?}");
}

/// The control frames that a decoder finds in `bytes`, cut at `cuts`, which discards messages from
/// the cut `from` on.
fn controls(
    role: Role,
    config: &Config,
    params: Option<DeflateParams>,
    pieces: &[&[u8]],
    from: usize,
) -> (Vec<Event>, Option<ProtocolError>) {
    let limits = Limits::new(config);
    let mut state = DecoderState::new(role);
    if let Some(params) = params {
        state.set_deflate(params);
    }
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        if index == from {
            state.discard_messages();
        }
        input.extend_from_slice(piece);
        loop {
            match state.decode(&limits, &mut input, &mut { usize::MAX }) {
                Ok(None) => break,
                Ok(Some(Decoded::Event(event))) if event.is_control() => events.push(event),
                Ok(Some(_)) => assert!(index < from, "messages are of no interest"),
                Err(error) => return (events, Some(error)),
            }
        }
        if index >= from {
            assert!(input.len() < 131, "{} bytes are kept", input.len());
            let open = state.open().map_or(0, |open| open.payload.capacity());
            assert_eq!(open, 0, "no payload is kept");
        }
    }
    (events, None)
}

#[test]
fn discarding_finds_all_control_frames_wherever_it_begins() {
    for (role, peer) in ROLES {
        for streaming in [false, true] {
            let config = Config::default().streaming(streaming);
            let bytes = conversation(peer);
            let all = (
                vec![
                    Event::Ping("between".into()),
                    Event::Pong("".into()),
                    Event::Close(Some((CloseCode::NORMAL, "bye").into())),
                ],
                None,
            );
            for cut in 0..=bytes.len() {
                let (a, b) = bytes.split_at(cut);
                assert_eq!(controls(role, &config, None, &[a, b], 1), all, "{cut}");
                for second in (cut..=bytes.len()).step_by(37) {
                    let (b, c) = bytes[cut..].split_at(second - cut);
                    let found = controls(role, &config, None, &[a, b, c], 1);
                    assert_eq!(found, all, "cut at {cut}, {second}");
                }
            }
        }
    }
}

#[test]
fn discarding_takes_messages_of_any_size_and_content() {
    let config = Config::default().max_message_size(10).max_fragments(2);
    for (role, peer) in ROLES {
        let bytes = [
            peer(0x81, b"\xff is not text"),
            peer(0x02, &[1; 5000]),
            peer(0x00, &[2; 70_000]),
            peer(0x00, &[3; 70_000]),
            peer(0x80, b""),
            peer(0x88, b"\x03\xe8"),
        ]
        .concat();
        let found = controls(role, &config, None, &[&bytes], 0);
        let close = Event::Close(Some(CloseCode::NORMAL.into()));
        assert_eq!(found, (vec![close], None));
    }
}

#[test]
fn discarding_still_fails_what_is_no_frame() {
    let cases: [(Vec<u8>, ProtocolError); 4] = [
        (from_server(0x82, b"x"), ProtocolError::UnmaskedFrame),
        (
            from_client(0x80, b"x"),
            ProtocolError::UnexpectedContinuation,
        ),
        (from_client(0xc1, b"x"), ProtocolError::ReservedBits),
        (
            [from_client(0x01, b"x"), from_client(0x81, b"x")].concat(),
            ProtocolError::ExpectedContinuation,
        ),
    ];
    for (bytes, error) in cases {
        let found = controls(Role::Server, &Config::default(), None, &[&bytes], 0);
        assert_eq!(found, (vec![], Some(error)));
    }
}

#[test]
fn discarding_keeps_its_place_in_a_payload_that_was_read_directly() {
    for taken in [1, 4000, 8000, 20_000] {
        let config = limited(1 << 20);
        let limits = Limits::new(&config);
        let mut state = DecoderState::new(Role::Server);
        let frame = from_client(0x82, &[7; 20_000]);
        let (mut begun, rest) = (BytesMut::from(&frame[..8]), &frame[8..]);
        assert!(matches!(
            state.decode(&limits, &mut begun, &mut { usize::MAX }),
            Ok(None)
        ));
        let mut direct = state.payload_buffer(&limits).expect("it is large");
        let len = direct.remaining_mut().min(taken);
        direct.put_slice(&rest[..len]);
        state.discard_messages();
        let mut input = BytesMut::from(&rest[len..]);
        input.extend_from_slice(&from_client(0x8a, b"found"));
        assert!(state.payload_buffer(&limits).is_none());
        let event = state.decode(&limits, &mut input, &mut { usize::MAX });
        let found = matches!(event, Ok(Some(Decoded::Event(Event::Pong(pong)))) if pong == "found");
        assert!(found, "{taken}");
        assert_eq!(state.message_in_progress(), 0);
    }
}
