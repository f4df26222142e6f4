//! Little on the wire, much in memory.

use super::{blocks::Blocks, *};
use crate::protocol::{
    close::CloseCode,
    decoder::{Decoded, DecoderState, Limits},
    message::Event,
};

fn limited(limit: usize, params: DeflateParams) -> Decoder {
    let config = Config::default().max_message_size(limit);
    Decoder::new(Role::Server, &config).deflate(params)
}

/// A message of `len` zeroes, in few bytes.
fn zeroes(len: usize) -> Vec<u8> {
    Blocks::default().zeroes(len).message()
}

/// The frames of a message in `count` fragments, or fewer where there is not a byte for each.
fn fragments(payload: &[u8], count: usize) -> Vec<u8> {
    let pieces: Vec<_> = payload.chunks(payload.len().div_ceil(count)).collect();
    let frame = |(index, piece): (usize, &&[u8])| {
        let first = if index == 0 { BINARY_BEGINS } else { 0x00 };
        let fin = if index + 1 == pieces.len() { 0x80 } else { 0 };
        from_client(first | fin, piece)
    };
    pieces.iter().enumerate().flat_map(frame).collect()
}

const LIMITS: [usize; 12] = [
    300,
    1000,
    32_767,
    32_768,
    32_769,
    65_535,
    65_536,
    65_537,
    // Behind 64 KiB there is less than one match.
    258 * 255,
    131_072,
    200_000,
    1 << 20,
];

#[test]
fn message_that_inflates_to_the_limit_passes_and_one_byte_more_is_1009() {
    for limit in LIMITS {
        for params in [takeover(), no_takeover()] {
            for count in [1, 2, 1000] {
                let frames = fragments(&zeroes(limit), count);
                let decoded = decode_all(&mut limited(limit, params), [&frames[..]]);
                assert_eq!(decoded.1, None, "{limit} in {count}");
                assert!(decoded.0 == [binary(vec![0; limit])]);
                let frames = fragments(&zeroes(limit + 1), count);
                let decoded = decode_all(&mut limited(limit, params), [&frames[..]]);
                let limit = limit as u64;
                let expected = Some(ProtocolError::InflatedTooBig { limit });
                assert_eq!(decoded, (vec![], expected));
            }
        }
    }
    assert_eq!(
        ProtocolError::InflatedTooBig { limit: 0 }.close_code(),
        CloseCode::MESSAGE_TOO_BIG
    );
}

#[test]
fn bomb_is_a_thousand_times_larger_than_its_wire_form() {
    assert!(zeroes(1 << 20).len() < (1 << 20) / 1000);
}

#[test]
fn bomb_is_refused_before_its_last_byte() {
    let limit = 65_536;
    let payload = zeroes(10 * limit);
    let mut decoder = limited(limit, no_takeover());
    let frame = from_client(BINARY, &payload);
    let decoded = decode_all(&mut decoder, [&frame[..frame.len() / 4]]);
    let limit = limit as u64;
    assert_eq!(decoded.1, Some(ProtocolError::InflatedTooBig { limit }));
}

#[test]
fn bomb_is_refused_though_its_message_does_not_end() {
    for limit in LIMITS {
        // Up to here all of it may be taken by the decompressor before it is decompressed.
        let payload = Blocks::default().zeroes(limit + 1).bytes();
        for params in [takeover(), no_takeover()] {
            let frame = from_client(BINARY_BEGINS, &payload);
            let decoded = decode_all(&mut limited(limit, params), [&frame[..]]);
            let limit = limit as u64;
            let expected = Some(ProtocolError::InflatedTooBig { limit });
            assert_eq!(decoded, (vec![], expected));
        }
    }
}

#[test]
fn nothing_received_after_a_bomb_is_looked_at() {
    for count in [1, 1000] {
        let mut decoder = limited(1000, takeover());
        let frames = fragments(&zeroes(1_000_000), count);
        let behind = [from_client(0x81, b"late"), from_client(0x89, b"")].concat();
        let mut input = input(&[&frames[..], &behind].concat());
        assert!(decoder.decode(&mut input).is_err());
        for bytes in [&b""[..], &behind, &frames] {
            input.extend_from_slice(bytes);
            assert_eq!(decoder.decode(&mut input), Ok(None));
            assert!(input.is_empty());
        }
        assert!(!decoder.is_message_open());
    }
}

#[test]
fn any_cutting_of_a_bomb_gives_the_same_error() {
    for limit in [1000, 65_536] {
        for more in [0, 1, 100_000] {
            let frames = fragments(&zeroes(limit + more), 3);
            let decoded = assert_every_cut(&frames, &mut Random(1), || limited(limit, takeover()));
            assert_eq!(decoded.1.is_some(), more > 0);
        }
    }
}

#[test]
fn limit_holds_for_each_message_by_itself() {
    for params in [takeover(), no_takeover()] {
        let mut decoder = limited(1000, params);
        for _ in 0..5 {
            let frame = from_client(BINARY, &zeroes(1000));
            let decoded = decode_all(&mut decoder, [&frame[..]]);
            assert_eq!(decoded, (vec![binary(vec![0; 1000])], None));
        }
    }
}

#[test]
fn message_without_limit_is_as_large_as_it_is() {
    let config = Config::default().max_message_size(None);
    let mut decoder = Decoder::new(Role::Server, &config).deflate(no_takeover());
    let frame = from_client(BINARY, &zeroes(3_000_001));
    let decoded = decode_all(&mut decoder, [&frame[..]]);
    assert!(decoded == (vec![binary(vec![0; 3_000_001])], None));
}

#[test]
fn wire_form_is_limited_too() {
    // Empty blocks inflate to nothing.
    let payload = b"\x00\x00\x00\xff\xff".repeat(201);
    let frame = from_client(BINARY, &payload);
    let decoded = decode_all(&mut limited(1000, takeover()), [&frame[..]]);
    let expected = ProtocolError::MessageTooBig {
        size: 1005,
        limit: 1000,
    };
    assert_eq!(decoded, (vec![], Some(expected)));
}

#[test]
fn message_in_too_many_fragments_is_1009_though_it_inflates_to_nothing() {
    let config = Config::default().max_fragments(10);
    let mut decoder = Decoder::new(Role::Server, &config).deflate(takeover());
    let frames = [
        from_client(BINARY_BEGINS, b""),
        from_client(0x00, b"").repeat(10),
    ];
    let decoded = decode_all(&mut decoder, [&frames.concat()[..]]);
    let expected = ProtocolError::TooManyFragments { limit: 10 };
    assert_eq!(decoded, (vec![], Some(expected)));
}

/// Each block costs a copy of what it might refer to, so it is an attack on the processor.
#[test]
fn message_of_nothing_but_final_blocks_is_refused() {
    const EMPTY_AND_FINAL: [u8; 2] = [0x03, 0x00];
    for params in [no_takeover(), takeover()] {
        for (blocks, passes) in [(1, true), (60, true), (100, false), (500_000, false)] {
            let frame = from_client(BINARY, &EMPTY_AND_FINAL.repeat(blocks));
            let decoded = decode_all(&mut limited(1 << 20, params), [&frame[..]]);
            let expected = if passes {
                (vec![binary(b"")], None)
            } else {
                (vec![], Some(ProtocolError::CorruptDeflate))
            };
            assert_eq!(decoded, expected, "{blocks} blocks");
        }
        // As many as the rest of the message earns.
        let text = Blocks::default().stored(false, &[7; 4096]).bytes();
        let ends = EMPTY_AND_FINAL.repeat(150);
        let frame = from_client(BINARY, &[text, ends].concat());
        let decoded = decode_all(&mut limited(1 << 20, params), [&frame[..]]);
        assert_eq!(decoded, (vec![binary([7; 4096])], None));
    }
}

/// Decodes with at most `budget` bytes from the decompressor at a time; gives the most that one call
/// has decompressed, too.
fn decode_within(
    limits: &Limits,
    params: DeflateParams,
    bytes: &[u8],
    budget: usize,
) -> (Vec<Decoded>, Option<ProtocolError>, usize) {
    let mut state = DecoderState::new(Role::Server);
    state.set_deflate(params);
    let (mut input, mut events, mut most) = (BytesMut::from(bytes), Vec::new(), 0);
    for _ in 0..100_000 {
        let mut room = budget;
        let event = state.decode(limits, &mut input, &mut room);
        let inflated = budget - room;
        most = most.max(inflated);
        match event {
            Ok(None) if room > 0 => return (events, None, most),
            Ok(event) => events.extend(event),
            Err(error) => return (events, Some(error), most),
        }
    }
    panic!("there is no end to it");
}

#[test]
fn decompressing_little_by_little_gives_the_same_messages() {
    let config = Config::default().max_message_size(2 << 20);
    for params in [takeover(), no_takeover()] {
        for count in [1, 3] {
            let bytes = [
                fragments(&zeroes(1 << 20), count),
                fragments(&zeroes(300), count),
                fragments(&zeroes(777_777), count),
            ]
            .concat();
            for budget in [1, 1000, 64 << 10, 512 << 10, usize::MAX] {
                let (events, error, most) =
                    decode_within(&Limits::new(&config), params, &bytes, budget);
                assert_eq!(error, None);
                let sizes: Vec<_> = events
                    .iter()
                    .map(|event| match event {
                        Decoded::Event(Event::Message(message)) => message.len(),
                        other => panic!("{other:?}"),
                    })
                    .collect();
                assert_eq!(sizes, [1 << 20, 300, 777_777], "{budget}");
                assert!(most <= budget, "{most}");
            }
        }
    }
}

#[test]
fn a_bomb_in_a_stream_is_decompressed_little_by_little_though_nobody_takes_it() {
    let config = Config::default().streaming(true);
    let bytes = fragments(&zeroes(8 << 20), 1);
    let (events, error, most) =
        decode_within(&Limits::new(&config), no_takeover(), &bytes, 64 << 10);
    assert_eq!(error, None);
    assert!(most <= 128 << 10, "{most}");
    let size: usize = events
        .iter()
        .map(|event| match event {
            Decoded::Piece(piece) => piece.payload.len(),
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(size, 8 << 20);
}

/// Nothing comes out of the decompressor any more once messages are of no interest.
#[test]
fn a_bomb_that_is_discarded_is_not_decompressed() {
    let config = Config::default().max_message_size(1 << 20);
    let limits = Limits::new(&config);
    let bomb = fragments(&zeroes(1 << 20), 1);
    for params in [takeover(), no_takeover()] {
        for begun in [0, 20, bomb.len() / 2] {
            let mut state = DecoderState::new(Role::Server);
            state.set_deflate(params);
            let mut input = BytesMut::from(&bomb[..begun]);
            assert!(matches!(
                state.decode(&limits, &mut input, &mut 0),
                Ok(None)
            ));
            state.discard_messages();
            input.extend_from_slice(&bomb[begun..]);
            input.extend_from_slice(&bomb);
            input.extend_from_slice(&from_client(0x89, b"found"));
            let mut room = 1000;
            let event = state.decode(&limits, &mut input, &mut room);
            assert!(matches!(event, Ok(Some(Decoded::Event(Event::Ping(_))))));
            assert_eq!(room, 1000);
        }
    }
}
