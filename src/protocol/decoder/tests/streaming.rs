//! Messages that are given away in pieces.

use bytes::BufMut;

use super::*;

/// What a decoder that streams makes of input that comes in parts: the events, with the pieces of
/// each message put together, and how many pieces there were.
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
                        let message = piece.kind.message(open.split().freeze());
                        events.push(Event::Message(message.expect("it was validated")));
                    }
                }
                Err(error) => return Err((events, error)),
            }
        }
    }
    Ok((events, pieces))
}

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
