//! What is held in memory, and how it is read.

use bytes::BufMut;

use super::*;

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
        .map_or(0, |open| open.body.payload.capacity())
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
            .map_or(0, |open| open.body.payload.len());
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
            assert_eq!(open.body.processed, index - 7);
            assert_eq!(open.body.processed, open.body.payload.len());
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
            let progress = decoder.state.frame_in_progress(input.len());
            numbers.push(progress.map(|frame| frame.number));
        }
    }
    let expected = frames.iter().zip(1..).flat_map(|(frame, number)| {
        let unfinished = vec![Some(number); frame.len() - 1];
        unfinished.into_iter().chain([None])
    });
    assert!(numbers.into_iter().eq(expected));
}
