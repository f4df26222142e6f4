//! Messages that are passed over.

use bytes::BufMut;

use super::*;

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
            let open = state.open().map_or(0, |open| open.body.payload.capacity());
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
