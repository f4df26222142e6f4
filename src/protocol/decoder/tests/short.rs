//! The short way: what it takes, what it leaves, and that nobody can tell it from the ordinary one.

use super::*;
use crate::protocol::deflate::DeflateParams;

/// What a decoder that has not begun takes the short way, and how many bytes it takes there.
fn taken(role: Role, config: &Config, frame: &[u8]) -> Option<(Message, usize)> {
    let (mut decoder, mut src) = (DecoderState::new(role), frame.to_vec());
    let before = decoder.frame_in_progress(1);
    let taken = decoder.take_short(&Limits::new(config), &mut src);
    if taken.is_none() {
        assert_eq!(src, frame, "what is left is as it was");
        assert_eq!(decoder.frame_in_progress(1), before, "no frame was counted");
    }
    taken
}

/// All that a decoder makes of `pieces`, with or without the short way.
fn all(
    decoder: &mut DecoderState,
    limits: &Limits,
    pieces: &[&[u8]],
) -> (Vec<Event>, Option<ProtocolError>) {
    let (mut src, mut events) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        src.extend_from_slice(piece);
        loop {
            match decoder.decode(limits, &mut src, &mut usize::MAX.clone()) {
                Ok(Some(Decoded::Event(event))) => events.push(event),
                Ok(Some(Decoded::Piece(piece))) => panic!("{piece:?}"),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

#[test]
fn message_of_at_most_125_bytes_that_is_all_there_is_taken() {
    for (role, peer) in ROLES {
        for len in [0, 1, 124, 125] {
            let payload = "é1".repeat(len).into_bytes()[..len].to_vec();
            let text = String::from_utf8_lossy(&payload).into_owned();
            for behind in [&b""[..], b"\x89", b"\xff\xff"] {
                let frame = peer(0x82, &payload);
                let taken_now = taken(role, &Config::default(), &[&frame, behind].concat());
                let binary = Message::binary(payload.clone());
                assert_eq!(taken_now, Some((binary, frame.len())), "{len}");
                if text.as_bytes() == payload {
                    let frame = peer(0x81, &payload);
                    let taken_now = taken(role, &Config::default(), &[&frame, behind].concat());
                    assert_eq!(
                        taken_now,
                        Some((Message::text(&*text), frame.len())),
                        "{len}"
                    );
                }
            }
        }
    }
}

#[test]
fn whatever_else_comes_is_left_as_it_was() {
    let config = Config::default();
    for (role, peer) in ROLES {
        let mut frames = vec![
            peer(0x82, &[b'x'; 126]),
            peer(0x81, &[b'x'; 126]),
            peer(0x82, &vec![b'x'; 70_000]),
            peer(0x81, b"caf\xc3"),
            peer(0x81, b"\xed\xa0\x80"),
            vec![],
        ];
        // All first bytes but those of the two kinds of message.
        frames.extend(
            (0..=255)
                .filter(|first| ![0x81, 0x82].contains(first))
                .map(|first| peer(first, b"Hello")),
        );
        for frame in frames {
            assert_eq!(taken(role, &config, &frame), None, "{frame:x?}");
        }
        let wrong_mask = if role == Role::Server {
            from_server
        } else {
            from_client
        };
        for len in [0, 1, 5, 125, 126, 127] {
            // With as much behind it as a frame of either end could have.
            let frame = [wrong_mask(0x82, &vec![0; len]), vec![0; 200]].concat();
            assert_eq!(taken(role, &config, &frame), None, "{len} {frame:x?}");
        }
    }
}

#[test]
fn frame_that_has_not_come_whole_is_left_at_every_cut() {
    for (role, peer) in ROLES {
        for len in [0, 1, 20, 125] {
            let frame = peer(0x82, &vec![7; len]);
            for cut in 0..frame.len() {
                assert_eq!(
                    taken(role, &Config::default(), &frame[..cut]),
                    None,
                    "{cut} of {len}"
                );
            }
        }
    }
}

#[test]
fn message_past_any_limit_is_left_to_the_ordinary_way() {
    let limit = 20;
    let configs = [
        Config::default().max_message_size(limit),
        Config::default().max_frame_size(limit),
        Config::default()
            .streaming(true)
            .max_stream_size(limit as u64),
        Config::default().streaming(true).max_frame_size(limit),
    ];
    for (role, peer) in ROLES {
        for config in &configs {
            let frame = |len| peer(0x82, &vec![7; len]);
            for len in [0, limit - 1, limit] {
                assert!(
                    taken(role, config, &frame(len)).is_some(),
                    "{len} {config:?}"
                );
            }
            for len in [limit + 1, 125] {
                assert_eq!(taken(role, config, &frame(len)), None, "{len} {config:?}");
            }
        }
    }
}

#[test]
fn bound_of_the_short_way_is_that_of_the_limits() {
    let sizes = [0, 1, 2, 64, 124, 125, 126, 127, 1 << 20];
    for message in sizes {
        for frame in sizes {
            for fragments in [0, 1, 1024] {
                for streaming in [false, true] {
                    let config = Config::default()
                        .max_message_size(message)
                        .max_stream_size(message as u64)
                        .max_frame_size(frame)
                        .max_fragments(fragments)
                        .streaming(streaming);
                    let limits = Limits::new(&config);
                    for len in 0..=125 {
                        let within = limits.check(len, 0, 0).is_ok();
                        assert_eq!((len as usize) < limits.short, within, "{len} {limits:?}");
                    }
                    assert!(limits.short <= 126);
                }
            }
        }
    }
}

#[test]
fn nothing_is_taken_inside_a_message_after_a_close_or_a_failure() {
    for (role, peer) in ROLES {
        let limits = Limits::new(&Config::default());
        let (short, mut room) = (peer(0x82, b"x"), usize::MAX);
        let mut decoder = DecoderState::new(role);
        let mut begun = BytesMut::from(&peer(0x02, b"begun")[..]);
        assert!(matches!(
            decoder.decode(&limits, &mut begun, &mut room),
            Ok(None)
        ));
        assert_eq!(decoder.take_short(&limits, &mut short.clone()), None);
        let mut decoder = DecoderState::new(role);
        decoder.discard_messages();
        assert_eq!(decoder.take_short(&limits, &mut short.clone()), None);
        let mut decoder = DecoderState::new(role);
        let mut wrong = BytesMut::from(&peer(0x83, b"")[..]);
        assert!(decoder.decode(&limits, &mut wrong, &mut room).is_err());
        assert_eq!(decoder.take_short(&limits, &mut short.clone()), None);
    }
}

/// Something that a peer may send, right or wrong, mostly short.
fn anything(random: &mut Random, peer: FromPeer) -> Vec<u8> {
    let len = match random.below(8) {
        0 => random.below(300),
        1 => 124 + random.below(4),
        _ => random.below(40),
    };
    let mut payload = vec![b'a'; len];
    if random.below(30) == 0 {
        payload = random.bytes(len);
    }
    let first = match random.below(60) {
        0 => random.number() as u8,
        1 => 0xc1,
        2..6 => 0x01,
        6..12 => 0x00,
        12..16 => 0x80,
        16..20 => 0x89,
        20 => 0x88,
        21..40 => 0x82,
        _ => 0x81,
    };
    if random.below(80) == 0 {
        return from_server(first, &payload);
    }
    peer(first, &payload)
}

#[test]
fn both_ways_make_the_same_of_random_input() {
    let configs = [
        Config::default(),
        Config::default().max_message_size(30),
        Config::default().max_frame_size(30),
        Config::default().max_fragments(1),
    ];
    let (mut events, mut errors) = (0, 0);
    for seed in 0..3000 {
        let mut random = Random(seed);
        let (role, peer) = ROLES[random.below(2)];
        let limits = Limits::new(&configs[random.below(configs.len())]);
        let frames: Vec<_> = (0..20).map(|_| anything(&mut random, peer)).collect();
        let bytes = frames.concat();
        let pieces = random.cut(&bytes, 200);
        let deflate = random.below(2) == 0 && cfg!(feature = "deflate");
        let decode = |limits: &Limits| {
            let mut decoder = DecoderState::new(role);
            if deflate {
                decoder.set_deflate(DeflateParams::default());
            }
            let result = all(&mut decoder, limits, &pieces);
            (
                result,
                decoder.frame_in_progress(0),
                decoder.frame_in_progress(1),
            )
        };
        let short = decode(&limits);
        assert_eq!(short, decode(&limits.without_short()), "seed {seed}");
        events += short.0.0.len();
        errors += usize::from(short.0.1.is_some());
    }
    // Otherwise nothing was tried.
    assert!(
        events > 3000 && errors > 500,
        "{events} events, {errors} errors"
    );
}

#[test]
fn plain_messages_are_taken_between_compressed_ones() {
    let mut decoder = DecoderState::new(Role::Server);
    decoder.set_deflate(DeflateParams::default());
    let limits = Limits::new(&Config::default());
    // RFC 7692 §7.2.3.1: "Hello", compressed; then the same again, with a history.
    let compressed = from_client(0xc1, &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    let again = from_client(0xc1, &[0xf2, 0x00, 0x11, 0x00, 0x00]);
    let plain = from_client(0x81, b"plain");
    assert_eq!(decoder.take_short(&limits, &mut compressed.clone()), None);
    let frames = [&plain[..], &compressed, &plain, &again, &plain];
    let expected = ["plain", "Hello", "plain", "Hello", "plain"].map(text);
    if cfg!(feature = "deflate") {
        assert_eq!(all(&mut decoder, &limits, &frames), (expected.into(), None));
    }
}
