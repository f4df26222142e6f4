//! RFC 3629 and the cases of Autobahn's chapter 6, cut at every byte (T31).

use super::*;
use crate::protocol::test_support::Random;

const VALID: &[&[u8]] = &[
    b"",
    b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", // 6.2: κόσμε
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf", // the last one before the surrogates
    b"\xee\x80\x80", // the first one behind them
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe", // no character, and yet valid
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf", // U+10FFFF
];

/// With the index of the first byte that nothing can make good.
const INVALID: &[(&[u8], usize)] = &[
    (b"\x80", 0),
    (b"\xbf", 0),
    (b"\xc0\x80", 0),             // overlong
    (b"\xc1\xbf", 0),             // overlong
    (b"\xe0\x80\xaf", 1),         // overlong
    (b"\xe0\x9f\xbf", 1),         // overlong
    (b"\xf0\x80\x80\xaf", 1),     // overlong
    (b"\xf0\x8f\xbf\xbf", 1),     // overlong
    (b"\xed\xa0\x80", 1),         // surrogate
    (b"\xed\xbf\xbf", 1),         // surrogate
    (b"\xf4\x90\x80\x80", 1),     // beyond U+10FFFF
    (b"\xf5\x80\x80\x80", 0),     // beyond U+10FFFF
    (b"\xf8\x88\x80\x80\x80", 0), // five bytes
    (b"\xfc\x84\x80\x80\x80\x80", 0),
    (b"\xfe", 0),
    (b"\xff", 0),
    (b"\xc2A", 1),
    (b"\xe2\x82A", 2),
    (b"\xf0\x9f\x98A", 3),
    (b"\xf0\x9f\x98\xf0", 3),
    // 6.3.1: a surrogate in the middle
    (
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80\x65\x64\x69\x74\x65\x64",
        12,
    ),
    // 6.4.1: beyond U+10FFFF in the middle
    (
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80\x65\x64\x69\x74\x65\x64",
        12,
    ),
];

/// The index of the first byte at which the validator fails, fed byte by byte.
fn fails_at(bytes: &[u8]) -> Option<usize> {
    let mut validator = Utf8Validator::default();
    bytes
        .iter()
        .position(|byte| validator.push(&[*byte]).is_err())
}

/// The same by the standard library: it tells "invalid" from "not there yet".
fn impossible_at(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|end| {
        std::str::from_utf8(&bytes[..=*end]).is_err_and(|error| error.error_len().is_some())
    })
}

#[test]
fn valid_text_passes_cut_anywhere() {
    for text in VALID {
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut validator = Utf8Validator::default();
                for piece in [&text[..first], &text[first..second], &text[second..]] {
                    assert_eq!(validator.push(piece), Ok(()), "{text:x?}");
                }
                assert_eq!(validator.finish(), Ok(()), "{text:x?} at {first}, {second}");
            }
        }
    }
}

#[test]
fn invalid_text_fails_at_the_first_impossible_byte() {
    for (text, index) in INVALID {
        assert_eq!(fails_at(text), Some(*index), "{text:x?}");
    }
}

#[test]
fn invalid_text_fails_in_the_piece_with_the_impossible_byte() {
    for (text, index) in INVALID {
        for prefix in [
            "",
            "x",
            "some ASCII that fills a vector or two of a validator with SIMD!",
        ] {
            let bytes = [prefix.as_bytes(), text].concat();
            let index = prefix.len() + index;
            for cut in 0..=bytes.len() {
                let mut validator = Utf8Validator::default();
                let first = validator.push(&bytes[..cut]);
                assert_eq!(first.is_err(), cut > index, "{bytes:x?} at {cut}");
                assert!(
                    validator.push(&bytes[cut..]).is_err(),
                    "{bytes:x?} at {cut}"
                );
            }
        }
    }
}

#[test]
fn every_sequence_of_two_bytes_fails_where_the_standard_library_says() {
    for sequence in 0..=u16::MAX {
        let bytes = sequence.to_be_bytes();
        assert_eq!(fails_at(&bytes), impossible_at(&bytes), "{bytes:x?}");
    }
}

#[test]
fn random_sequences_fail_where_the_standard_library_says() {
    // Bytes at the edges of the ranges of RFC 3629 §4.
    const EDGES: &[u8] = b"\x00\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff";
    let mut random = Random(4);
    for _ in 0..50_000 {
        let len = 1 + random.below(6);
        let bytes: Vec<u8> = (0..len).map(|_| EDGES[random.below(EDGES.len())]).collect();
        assert_eq!(fails_at(&bytes), impossible_at(&bytes), "{bytes:x?}");
        let mut whole = Utf8Validator::default();
        let valid = whole.push(&bytes).and_then(|()| whole.finish()).is_ok();
        assert_eq!(valid, std::str::from_utf8(&bytes).is_ok(), "{bytes:x?}");
    }
}

#[test]
fn text_that_ends_inside_a_character_is_unfinished() {
    for character in ["ß", "€", "😀"] {
        let bytes = character.as_bytes();
        for cut in 1..bytes.len() {
            let mut validator = Utf8Validator::default();
            assert_eq!(validator.push(&bytes[..cut]), Ok(()));
            assert_eq!(validator.finish(), Err(InvalidUtf8), "{character} at {cut}");
        }
    }
}

#[test]
fn failure_is_final() {
    for (text, _) in INVALID {
        for pieces in [vec![*text], text.chunks(1).collect()] {
            let mut validator = Utf8Validator::default();
            for piece in pieces {
                let _failed_sooner_or_later = validator.push(piece);
            }
            for more in [&b""[..], b"a", b"\x80", b"\x80\x80\x80\x80\x80", b"\xf0"] {
                let passed = validator.push(more).is_ok();
                assert!(!passed || more.is_empty(), "{text:x?} then {more:x?}");
            }
            assert_eq!(validator.finish(), Err(InvalidUtf8), "{text:x?}");
        }
    }
}

#[test]
fn empty_pieces_change_nothing() {
    let mut validator = Utf8Validator::default();
    for byte in "😀".as_bytes() {
        assert_eq!(validator.push(b""), Ok(()));
        assert_eq!(validator.push(&[*byte]), Ok(()));
    }
    assert_eq!(validator.push(b""), Ok(()));
    assert_eq!(validator.finish(), Ok(()));
}

#[test]
fn utf8_bytes_take_valid_bytes_only() {
    for text in VALID {
        let made = Utf8Bytes::try_from(Bytes::from_static(text));
        assert_eq!(made.as_deref().map(str::as_bytes), Ok(*text));
    }
    for (text, _) in INVALID {
        let made = Utf8Bytes::try_from(BytesMut::from(*text));
        assert_eq!(made, Err(InvalidUtf8), "{text:x?}");
    }
}

#[test]
fn utf8_bytes_share_what_they_are_made_of() {
    let bytes = Bytes::from("Hello".to_owned());
    let text = Utf8Bytes::try_from(bytes.clone()).expect("text");
    assert_eq!(text.clone().into_bytes().as_ptr(), bytes.as_ptr());
    assert_eq!(text, "Hello");
    assert_eq!(String::from(text), "Hello");
}
