use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::protocol::{Message, outbound::PreparedMessage};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[expect(dead_code, reason = "it is only read")]
    pieces: u32,
}

#[derive(Debug, Deserialize)]
struct Orders {
    #[expect(dead_code, reason = "it is only read")]
    orders: Vec<Order>,
}

fn error<'de, T: Deserialize<'de> + fmt::Debug>(json: &'de [u8]) -> InvalidJson {
    parse::<T>(json).unwrap_err()
}

#[test]
fn error_says_what_is_wrong_and_where() {
    let error = error::<Orders>(b"{\"orders\": [\n {\"pieces\": 1},\n {\"pieces\": \"two\"}]}");
    assert_eq!(error.path(), "orders[1].pieces");
    assert_eq!((error.line(), error.column()), (3, 17));
    assert_eq!(
        error.to_string(),
        "invalid type: string \"…\", expected u32, at orders[1].pieces (line 3, column 17)"
    );
}

#[test]
fn error_of_the_whole_has_no_path() {
    for (json, told) in [
        (&b""[..], "EOF while parsing a value (line 1, column 0)"),
        (b"{", "EOF while parsing an object (line 1, column 1)"),
        (b"{} {}", "missing field `orders` (line 1, column 2)"),
    ] {
        let error = error::<Orders>(json).to_string();
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn what_stands_behind_a_value_is_an_error() {
    let error = error::<u32>(b"1 2");
    assert_eq!(error.to_string(), "trailing characters (line 1, column 3)");
}

#[test]
fn what_is_no_utf8_is_an_error() {
    error::<String>(b"\"\xff\"");
    assert!(
        Message::binary(b"\"\xc3\xa9\"".to_vec())
            .to_json::<String>()
            .is_ok()
    );
}

#[test]
fn error_quotes_no_string_of_the_message() {
    for json in [
        &b"{\"pieces\": \"hunter2\"}"[..],
        b"{\"pieces\": \"a\\\"b hunter2\"}",
        b"{\"pieces\": \"\\\\\", \"x\": \"hunter2\"}",
        b"\"hunter2\"",
    ] {
        let error = error::<Order>(json);
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

#[derive(Debug, Deserialize)]
enum Kind {
    #[serde(rename = "small")]
    Small,
    #[serde(rename = "big")]
    Big(#[expect(dead_code, reason = "it is only read")] u32),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    #[serde(rename = "small")]
    Small,
}

#[derive(Debug, Deserialize)]
enum Never {}

#[test]
fn string_that_names_no_variant_is_left_out() {
    for secret in [
        "hunter2",
        "`hunter2",
        "a`, expected `b` hunter2",
        "a`, there are no hunter2",
        "\\\"hunter2",
    ] {
        let known = "unknown variant `…`, expected `small` or `big`";
        for (error, told) in [
            (error::<Kind>(format!("\"{secret}\"").as_bytes()), known),
            (
                error::<Kind>(format!("{{\"{secret}\": 1}}").as_bytes()),
                known,
            ),
            (
                error::<Tagged>(format!("{{\"kind\": \"{secret}\"}}").as_bytes()),
                "unknown variant `…`, expected `small`",
            ),
            (
                error::<Never>(format!("\"{secret}\"").as_bytes()),
                "unknown variant `…`, there are no variants",
            ),
        ] {
            let text = error.to_string();
            assert!(text.starts_with(told), "{secret}: {text}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}

#[test]
fn name_of_the_peer_ends_where_it_ends() {
    for quote in ["`", "`, expected `", "`, there are no ", "`, `", "\\\""] {
        let name = format!("{quote}{}", "x".repeat(150));
        let text = error::<Order>(format!("{{\"{name}\": 1}}").as_bytes()).to_string();
        assert!(text.starts_with("unknown field `"), "{text}");
        assert!(text.contains("x…`, expected `pieces`"), "{text}");
        assert!(!text.contains(&"x".repeat(33)), "{text}");
    }
}

#[test]
fn names_of_the_peer_are_cut_and_break_no_line() {
    let name = format!("line\\nERROR {}", "é".repeat(100_000));
    let unknown = error::<Order>(format!("{{\"{name}\": 1}}").as_bytes()).to_string();
    let key = error::<HashMap<String, u32>>(format!("{{\"{name}\": true}}").as_bytes());
    for text in [unknown, key.path().to_owned(), key.to_string()] {
        assert!(text.contains("line\u{fffd}ERROR é"), "{text}");
        assert!(text.contains("é…"), "{text}");
        assert!(text.len() < 200 && !text.contains('\n'), "{text}");
    }
}

#[test]
fn error_is_short_whatever_the_message() {
    let mut nested = Value::Bool(true);
    for _ in 0..50 {
        nested = Value::Object([("a`\"b".repeat(1000), nested)].into_iter().collect());
    }
    #[derive(Debug, Deserialize)]
    #[serde(transparent)]
    struct Nested(#[expect(dead_code, reason = "it is only read")] HashMap<String, Either>);
    #[derive(Debug)]
    struct Either;
    impl<'de> Deserialize<'de> for Either {
        fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
            Nested::deserialize(json).map(|_| Self)
        }
    }
    let error = error::<Nested>(nested.to_string().as_bytes());
    assert!(error.path().ends_with('…'), "{error}");
    assert!(error.to_string().len() < 700, "{error}");
    let words = error_of_ones_own(&"word ".repeat(1000));
    assert!(words.to_string().len() < 300, "{words}");
}

/// What an application's own `Deserialize` says.
fn error_of_ones_own(words: &str) -> InvalidJson {
    InvalidJson::unserializable(&<serde_json::Error as serde::de::Error>::custom(words))
}

#[test]
fn an_application_s_own_words_are_told_but_for_what_they_quote() {
    let error = error_of_ones_own("not a name: \"hunter2\" (see `help`)");
    assert_eq!(error.to_string(), "not a name: \"…\" (see `help`)");
    assert_eq!((error.path(), error.line(), error.column()), ("", 0, 0));
    let open = error_of_ones_own("half a \"quote");
    assert_eq!(open.to_string(), "half a \"…\"");
}

/// serde_json's limit, which another crate's features must not lift unnoticed.
#[test]
fn nesting_beyond_128_is_an_error_and_no_overflow() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(parse::<Value>(nested(127).as_bytes()).is_ok());
    for depth in [128, 1_000_000] {
        let error = error::<Value>(nested(depth).as_bytes());
        assert!(error.to_string().contains("recursion limit"), "{error}");
        assert!(error.to_string().len() < 700, "{error}");
    }
    // Nothing is built of what nobody asks for.
    let ignored = format!("{{\"orders\": [], \"other\": {}}}", nested(1_000_000));
    assert!(parse::<Orders>(ignored.as_bytes()).is_ok());
}

#[test]
fn numbers_that_do_not_fit_are_errors() {
    let long = "9".repeat(100_000);
    for json in ["4294967296", "-1", "1.5", "1e3", &long] {
        let text = error::<u32>(json.as_bytes()).to_string();
        assert!(text.len() < 150, "{text}");
    }
    for json in ["1e400", "-1e99999999999999999999"] {
        let text = error::<f64>(json.as_bytes()).to_string();
        assert!(text.contains("out of range"), "{text}");
    }
    assert_eq!(parse::<f64>(b"1e-99999999999999999999").ok(), Some(0.0));
}

#[test]
fn who_receives_it_is_told_and_who_sends_it_is_not() {
    let code = |error: &InvalidJson| {
        let source = error.source()?;
        Some(source.downcast_ref::<CloseFrame>().unwrap().code())
    };
    assert_eq!(
        code(&error::<u32>(b"true").of_client(true)),
        Some(CloseCode::INVALID_PAYLOAD)
    );
    assert_eq!(code(&error::<u32>(b"true")), None);
    let keys = HashMap::from([((1, 2), 3)]);
    let error = Message::json(&keys).unwrap_err();
    assert_eq!(error.to_string(), "key must be a string");
    assert_eq!(code(&error), None);
}

#[test]
fn json_is_made_once_for_many() {
    let prepared = PreparedMessage::json(&[Some(1), None]).unwrap();
    assert_eq!(prepared.message(), &Message::text("[1,null]"));
}
