//! Order, role and size; every cut.

mod discarding;
mod memory;
mod short;
#[cfg(feature = "layer")]
mod streaming;

use super::*;
use crate::protocol::{
    close::{CloseCode, CloseFrame},
    message::Message,
    test_support::*,
};

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
    assert_eq!(decoder.state.frame_in_progress(0), None);
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
