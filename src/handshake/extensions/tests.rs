use std::cell::Cell;

use http::HeaderValue;

use super::*;

fn headers(lines: &[&[u8]]) -> HeaderMap {
    let lines = lines.iter().map(|line| HeaderValue::from_bytes(line));
    let lines = lines.map(|line| (SEC_WEBSOCKET_EXTENSIONS, line.expect("a header value")));
    lines.collect()
}

/// Writes what was parsed in one spelling: `name;param=value;param="quoted value"`.
fn spell(lines: &[&str]) -> Result<Vec<String>, Malformed> {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    let headers = headers(&lines);
    let spell_param = |param: &Param<'_>| match &param.value {
        None => format!(";{}", param.name),
        Some(Value {
            text,
            quoted: false,
        }) => format!(";{}={text}", param.name),
        Some(Value { text, quoted: true }) => format!(";{}=\"{text}\"", param.name),
    };
    let spell = |extension: &Extension<'_>| {
        extension.name.to_owned() + &extension.params.iter().map(spell_param).collect::<String>()
    };
    Ok(parse(&headers)?.iter().map(spell).collect())
}

#[test]
fn extensions_have_parameters_with_and_without_values() {
    let table: [(&str, &[&str]); 7] = [
        ("foo", &["foo"]),
        ("foo, bar; baz=2", &["foo", "bar;baz=2"]),
        ("deflate-stream", &["deflate-stream"]),
        (
            "mux; max-channels=4; flow-control, deflate-stream",
            &["mux;max-channels=4;flow-control", "deflate-stream"],
        ),
        (
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
            &["permessage-deflate;client_max_window_bits;server_max_window_bits=10"],
        ),
        ("a;p;p=1;p=2", &["a;p;p=1;p=2"]),
        ("a;x, a;y", &["a;x", "a;y"]),
    ];
    for (line, extensions) in table {
        assert_eq!(spell(&[line]).unwrap(), extensions, "{line}");
    }
}

#[test]
fn lines_are_one_list() {
    assert_eq!(spell(&["a;x", "b", "a"]).unwrap(), ["a;x", "b", "a"]);
}

#[test]
fn quoted_value_is_told_from_a_token() {
    assert_eq!(spell(&[r#"a;p="10""#]).unwrap(), [r#"a;p="10""#]);
    assert_eq!(spell(&["a;p=10"]).unwrap(), ["a;p=10"]);
}

#[test]
fn quoted_value_loses_its_escapes() {
    assert_eq!(spell(&[r#"a;p="\1\0";q"#]).unwrap(), [r#"a;p="10";q"#]);
}

#[test]
fn white_space_may_stand_between_all_tokens() {
    let line = " \ta \t;\t p \t=\t \"1\" \t,\t b ";
    assert_eq!(spell(&[line]).unwrap(), [r#"a;p="1""#, "b"]);
}

#[test]
fn empty_elements_are_tolerated() {
    assert_eq!(spell(&[",, a,\t, b, "]).unwrap(), ["a", "b"]);
    assert_eq!(spell(&["", " ", ","]).unwrap(), [""; 0]);
    assert_eq!(spell(&[]).unwrap(), [""; 0]);
}

#[test]
fn list_that_breaks_the_grammar_is_malformed() {
    let table = [
        ("two names", "a b"),
        ("no name", ";p"),
        ("no name, a value", "=1"),
        ("no parameter", "a;"),
        ("no parameter, twice", "a;;p"),
        ("no parameter before a comma", "a;,b"),
        ("no parameter name", "a;=1"),
        ("no value", "a;p="),
        ("no value before a comma", "a;p=,b"),
        ("value of an extension", "a=1"),
        ("two values", "a;p=1=2"),
        ("two values, apart", "a;p=1 2"),
        ("quoted name", "\"a\""),
        ("quoted parameter name", "a;\"p\""),
        ("name that is no token", "a/b"),
        ("value that is no token", "a;p=(1)"),
        ("quotes that do not end", "a;p=\"1"),
        ("quotes that end in an escape", "a;p=\"1\\"),
        ("escaped end of quotes", "a;p=\"1\\\""),
        ("quotes within a token", "a;p=1\"2\""),
        ("text behind quotes", "a;p=\"1\"2"),
        ("nothing in quotes", "a;p=\"\""),
        ("quoted white space", "a;p=\"1 2\""),
        ("quoted comma", "a;p=\"1,2\""),
        ("quoted quote", "a;p=\"\\\"\""),
    ];
    for (name, line) in table {
        assert_eq!(spell(&[line]), Err(Malformed), "{name}");
    }
}

#[test]
fn error_on_any_line_spoils_the_list() {
    assert_eq!(spell(&["a", "b;", "c"]), Err(Malformed));
}

#[test]
fn quotes_do_not_go_over_lines() {
    assert_eq!(spell(&["a;p=\"1", "2\""]), Err(Malformed));
}

#[test]
fn bytes_that_are_not_ascii_are_malformed() {
    assert_eq!(parse(&headers(&[b"a;p=\xff"])), Err(Malformed));
    assert_eq!(parse(&headers(&[b"a;p=\"\xc3\xa9\""])), Err(Malformed));
}

#[test]
fn each_byte_of_a_long_line_is_read_once() {
    let pieces = ["a,", "a;p=1,", "a;p=\"\\1\", ", ",", " ", "a;p;p;p,"];
    for piece in pieces {
        let line = piece.repeat((64 << 10) / piece.len());
        let read = Cell::new(0);
        let bytes = line.bytes().inspect(|_| read.set(read.get() + 1));
        let mut extensions = Vec::new();
        Lexer::new(&line, bytes).list(&mut extensions).unwrap();
        assert_eq!(read.get(), line.len(), "{piece:?}");
        assert_eq!(extensions.len(), line.matches('a').count(), "{piece:?}");
    }
}

#[test]
fn long_malformed_line_is_read_no_further_than_the_error() {
    let line = "a;p=\"1,".to_owned() + &"2".repeat(64 << 10);
    let read = Cell::new(0);
    let bytes = line.bytes().inspect(|_| read.set(read.get() + 1));
    assert_eq!(
        Lexer::new(&line, bytes).list(&mut Vec::new()),
        Err(Malformed)
    );
    assert_eq!(read.get(), 7);
}

#[test]
fn error_says_what_is_malformed() {
    assert_eq!(Malformed.to_string(), "malformed list of extensions");
}
