#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;
use crate::{
    cluster::question::QuestionId,
    protocol::{CloseCode, Message, test_support::Random},
};

fn node() -> NodeId {
    NodeId::new(0x1122_3344_5566_7788).unwrap()
}

fn connection() -> ConnectionId {
    ConnectionId::new(0x0102_0304_0506_0708)
}

const NUMBER: Number = Number {
    run: 0x0a0b_0c0d_0e0f_1011,
    index: 0x2122_2324,
};

fn encode(carried: Carried) -> Vec<u8> {
    let letter = Letter::from(&carried);
    let envelope = [letter.head(node(), NUMBER).as_bytes(), &letter.payload].concat();
    assert_eq!(letter.len(), envelope.len());
    envelope
}

fn decode(envelope: &[u8]) -> Result<(EnvelopeHeader, Carried), EnvelopeError> {
    let header = EnvelopeHeader::decode(envelope)?;
    let body = Bytes::copy_from_slice(&envelope[HEADER..]);
    Ok((header, Carried::decode(&header, body)?))
}

/// One of each kind, in each way that can be said of its compression.
fn all() -> Vec<Carried> {
    let (text, binary) = (Message::text("käse"), Message::binary(&b"\xff\0"[..]));
    let close = CloseFrame::new(CloseCode::POLICY_VIOLATION, "signed out");
    let longest = CloseFrame::new(CloseCode::NORMAL, "x".repeat(123));
    let mut all = vec![
        Carried::Message("".into()),
        Carried::Close(None),
        Carried::Close(Some(close.clone())),
        Carried::Close(Some(longest)),
        Carried::CloseConnection(connection(), None),
        Carried::CloseConnection(connection(), Some(close)),
    ];
    for message in [text, binary] {
        for outbound in [
            message.clone().into(),
            message.clone().compressed(),
            message.uncompressed(),
        ] {
            all.push(Carried::MessageTo(connection(), outbound.clone()));
            all.push(Carried::Message(outbound));
        }
    }
    all
}

#[test]
fn envelope_is_read_as_it_is_written() {
    for carried in all() {
        let (header, decoded) = decode(&encode(carried.clone())).unwrap();
        assert_eq!(decoded, carried);
        assert_eq!((header.node, header.number), (Some(node()), NUMBER));
    }
}

#[test]
fn header_is_laid_out_as_the_page_says() {
    let expected = b"\x01\x01\x02\0\x88\x77\x66\x55\x44\x33\x22\x11\
        \x11\x10\x0f\x0e\x0d\x0c\x0b\x0a\x24\x23\x22\x21Hi";
    let message = Message::text("Hi").uncompressed();
    assert_eq!(encode(Carried::Message(message)), expected);

    let close = CloseFrame::new(CloseCode::NORMAL, "bye");
    let envelope = encode(Carried::CloseConnection(connection(), Some(close)));
    assert_eq!(envelope[..3], [1, 6, 0]);
    assert_eq!(
        envelope[24..],
        *b"\x08\x07\x06\x05\x04\x03\x02\x01\x03\xe8bye"
    );
}

#[test]
fn each_kind_has_its_number() {
    let (one, two) = (|| Message::text("a"), || Message::binary("a"));
    let (here, there) = (Carried::Message, |message| {
        Carried::MessageTo(connection(), message)
    });
    let carried = [
        (1, here(one().into())),
        (2, here(two().into())),
        (3, Carried::Close(None)),
        (4, there(one().into())),
        (5, there(two().into())),
        (6, Carried::CloseConnection(connection(), None)),
    ];
    for (kind, carried) in carried {
        assert_eq!(encode(carried)[1], kind);
    }
    let own = |letter: Letter| letter.head(node(), NUMBER).as_bytes()[1];
    assert_eq!(own(Letter::leaving()), 8);
    let id = QuestionId(1);
    assert_eq!(own(Letter::question(&Question { id, topic: b"x" })), 9);
    assert_eq!(own(Letter::answer(&Answer { id, members: 1 })), 10);
}

#[test]
fn no_envelope_of_somebody_outside_is_a_nodes() {
    let mut envelope = vec![0; 24];
    (envelope[0], envelope[1]) = (1, 1);
    envelope.extend(b"from Python");
    let (header, carried) = decode(&envelope).unwrap();
    assert_eq!((header.node, header.number), (None, Number::default()));
    assert_eq!(carried, Carried::Message("from Python".into()));
}

#[test]
fn every_kind_and_version_but_ours_is_dropped() {
    let envelope = encode(Carried::Message("Hi".into()));
    for byte in 0..=u8::MAX {
        let mut other = envelope.clone();
        other[0] = byte;
        let version = EnvelopeHeader::decode(&other).map(drop);
        assert_eq!(version.is_ok(), byte == 1, "version {byte}");
        assert!(byte == 1 || version == Err(EnvelopeError::Version));

        let mut other = envelope.clone();
        other[1] = byte;
        let kind = EnvelopeHeader::decode(&other).map(drop);
        assert_eq!(kind.is_ok(), (1..=10).contains(&byte), "kind {byte}");
        assert!((1..=10).contains(&byte) || kind == Err(EnvelopeError::Kind));
    }
}

#[test]
fn flags_of_later_versions_are_ignored_but_that_of_a_topic_inside() {
    let envelope = encode(Carried::Message("Hi".into()));
    for flags in 0..=u8::MAX {
        let mut other = envelope.clone();
        (other[2], other[3]) = (flags, !flags);
        let decoded = decode(&other).map(|(_, carried)| carried);
        let message = Message::text("Hi");
        let expected = match flags & 3 {
            _ if flags & 4 != 0 => Err(EnvelopeError::Kind),
            1 => Ok(Carried::Message(message.compressed())),
            2 => Ok(Carried::Message(message.uncompressed())),
            _ => Ok(Carried::Message(message.into())),
        };
        assert_eq!(decoded, expected, "{flags:#b}");
    }
}

#[test]
fn an_index_that_nobody_gives_is_malformed() {
    let mut envelope = encode(Carried::Message("Hi".into()));
    envelope[20..24].fill(0xff);
    assert_eq!(decode(&envelope).unwrap_err(), EnvelopeError::Number);
    envelope[20] = 0xfe;
    assert!(decode(&envelope).is_ok());
}

#[test]
fn text_has_to_be_utf8_and_binary_data_need_not() {
    for carried in [
        Carried::Message("äh".into()),
        Carried::MessageTo(connection(), "äh".into()),
    ] {
        let mut envelope = encode(carried);
        let last = envelope.len() - 3;
        envelope.remove(last);
        assert_eq!(decode(&envelope).unwrap_err(), EnvelopeError::Utf8);
        envelope[1] += 1;
        assert!(decode(&envelope).is_ok());
    }
}

#[test]
fn only_what_may_be_in_a_close_frame_closes() {
    let envelope = |payload: &[u8]| {
        let close = encode(Carried::Close(None));
        [&close, payload].concat()
    };
    for code in 0..=u16::MAX {
        let closed = decode(&envelope(&code.to_be_bytes()));
        assert_eq!(closed.is_ok(), CloseCode::new(code).is_some(), "{code}");
    }
    let reason = |len: usize| [&[0x03, 0xe8], &vec![b'x'; len][..]].concat();
    assert!(decode(&envelope(&reason(123))).is_ok());
    for payload in [&reason(124)[..], b"\x03", b"\x03\xe8\xff"] {
        assert_eq!(
            decode(&envelope(payload)).unwrap_err(),
            EnvelopeError::Close
        );
    }
}

#[test]
fn the_id_of_a_connection_is_whole_and_not_0() {
    for carried in [
        Carried::MessageTo(connection(), "".into()),
        Carried::CloseConnection(connection(), None),
    ] {
        let mut envelope = encode(carried);
        for len in 24..32 {
            assert_eq!(
                decode(&envelope[..len]).unwrap_err(),
                EnvelopeError::Truncated
            );
        }
        envelope[24..32].fill(0);
        assert_eq!(decode(&envelope).unwrap_err(), EnvelopeError::Truncated);
    }
}

#[test]
fn any_cutting_gives_an_error_or_a_shorter_message() {
    for carried in all() {
        let envelope = encode(carried);
        for len in 0..envelope.len() {
            let decoded = decode(&envelope[..len]);
            if len < HEADER {
                assert_eq!(decoded.unwrap_err(), EnvelopeError::Truncated, "{len}");
                continue;
            }
            // Nothing is made up: what is decoded is what its own envelope says.
            if let Ok((_, carried)) = decoded {
                assert_eq!(encode(carried)[3..], envelope[3..len], "{len}");
            }
        }
    }
}

#[test]
fn any_bytes_are_decoded_or_refused_without_a_panic() {
    let mut random = Random(15);
    let mut decoded = 0;
    for _ in 0..100_000 {
        let len = random.below(60);
        let mut envelope = random.bytes(len);
        // Else hardly one would come past the version.
        for (byte, most) in envelope.iter_mut().zip([2, 12, 8, 8]) {
            *byte %= most;
        }
        decoded += usize::from(decode(&envelope).is_ok());
    }
    assert!(decoded > 1000, "{decoded}");
    for carried in all() {
        let envelope = encode(carried);
        for place in 0..envelope.len() {
            for byte in 0..=u8::MAX {
                let mut other = envelope.clone();
                other[place] = byte;
                drop(decode(&other));
            }
        }
    }
}
