use super::*;
use crate::handshake::origin::OriginPolicy;
use Rejection::*;

/// Handshakes in which one header field has these lines instead of its own.
fn with_lines(head: fn() -> Parts, name: &str, lines: &[&[u8]]) -> Option<Rejection> {
    refusal(&with(head(), &[(name, lines)]))
}

#[track_caller]
fn accepts(head: fn() -> Parts, name: &str, table: &[&[&[u8]]]) {
    for lines in table {
        assert_eq!(with_lines(head, name, lines), None, "{name}: {lines:x?}");
    }
}

#[track_caller]
fn rejects(head: fn() -> Parts, name: &str, table: &[&[&[u8]]], reason: Rejection) {
    for lines in table {
        let rejection = with_lines(head, name, lines);
        assert_eq!(rejection.as_ref(), Some(&reason), "{name}: {lines:x?}");
    }
}

#[test]
fn body_of_any_length_but_zero() {
    for head in [h1, h2] {
        accepts(head, "content-length", &[&[]]);
        let lengths: [&[&[u8]]; 5] = [&[b"1"], &[b"0", b"5"], &[b"0, 5"], &[b"-0"], &[b""]];
        rejects(head, "content-length", &lengths, BodyPresent);
        let codings: [&[&[u8]]; 2] = [&[b"chunked"], &[b"identity"]];
        rejects(head, "transfer-encoding", &codings, BodyPresent);
    }
}

#[test]
fn length_of_zero_only_where_it_would_count_data_frames() {
    accepts(h1, "content-length", &[&[b"0"], &[b"0", b"0"]]);
    rejects(h2, "content-length", &[&[b"0"], &[b"0", b"0"]], BodyPresent);
}

#[test]
fn chunked_body_beside_a_length_of_zero() {
    let changes: [Change<'_>; 2] = [
        ("transfer-encoding", &[b"chunked"]),
        ("content-length", &[b"0"]),
    ];
    assert_eq!(refusal(&with(h1(), &changes)), Some(BodyPresent));
}

#[test]
fn http_1_host_that_is_not_one_valid_line() {
    accepts(h1, "host", &[&[b"a.example"], &[b"[::1]:80"]]);
    rejects(h1, "host", &[&[]], MissingHost);
    rejects(h1, "host", &[&[b"a.example", b"a.example"]], DuplicateHost);
    let malformed: [&[&[u8]]; 4] = [
        &[b""],
        &[b"u@a.example"],
        &[b"a.example, b.example"],
        &[b"\xe9.example"],
    ];
    rejects(h1, "host", &malformed, InvalidHost);
}

#[test]
fn http_2_host_is_not_looked_at() {
    accepts(h2, "host", &[&[], &[b""], &[b"a.example", b"b.example"]]);
    let changes: [Change<'_>; 2] = [
        ("host", &[b"evil.example"]),
        ("origin", &[b"https://evil.example"]),
    ];
    assert_eq!(refusal(&with(h2(), &changes)), Some(OriginRefused));
}

#[test]
fn version_that_is_not_one_line_of_13() {
    for head in [h1, h2] {
        accepts(head, "sec-websocket-version", &[&[b"13"]]);
        let versions: [&[&[u8]]; 7] = [
            &[],
            &[b""],
            &[b"12"],
            &[b"14"],
            &[b"013"],
            &[b"13, 8"],
            &[b"13", b"13"],
        ];
        rejects(head, "sec-websocket-version", &versions, UnsupportedVersion);
    }
}

#[test]
fn http_1_key_that_is_not_one_line_of_16_bytes() {
    accepts(h1, "sec-websocket-key", &[&[KEY]]);
    rejects(h1, "sec-websocket-key", &[&[]], MissingKey);
    rejects(h1, "sec-websocket-key", &[&[KEY, KEY]], DuplicateKey);
    rejects(
        h1,
        "sec-websocket-key",
        &[&[b""], &[&[b'A'; 20]]],
        InvalidKey,
    );
}

#[test]
fn origin_that_is_not_the_host() {
    for head in [h1, h2] {
        accepts(head, "origin", &[&[], &[b"https://server.example.com"]]);
        let origins: [&[&[u8]]; 4] = [
            &[b"https://evil.example"],
            &[b"https://server.example.com:8443"],
            &[b"null"],
            &[b"https://server.example.com", b"https://server.example.com"],
        ];
        rejects(head, "origin", &origins, OriginRefused);
    }
}

#[test]
fn subprotocols_that_are_not_tokens() {
    for head in [h1, h2] {
        let lists: [&[&[u8]]; 4] = [&[b"a, b", b"c"], &[b", a,,", b""], &[b"a, a"], &[b""]];
        accepts(head, "sec-websocket-protocol", &lists);
        let lists: [&[&[u8]]; 4] = [&[b"a, b c"], &[b"(a)"], &[b"a", b"a/1"], &[b"\xe9"]];
        rejects(
            head,
            "sec-websocket-protocol",
            &lists,
            MalformedSubprotocols,
        );
    }
}

#[test]
fn extensions_that_break_the_grammar() {
    for head in [h1, h2] {
        accepts(
            head,
            "sec-websocket-extensions",
            &[&[], &[b"a; b=\"c\", d", b"e"]],
        );
        let lists: [&[&[u8]]; 3] = [&[b"a;"], &[b"a", b"b c"], &[b"\xe9"]];
        rejects(
            head,
            "sec-websocket-extensions",
            &lists,
            MalformedExtensions,
        );
    }
}

#[test]
fn http_2_keys_that_cannot_be_answered_are_ignored() {
    for keys in [&[KEY, KEY][..], &[&[b'A'; 20]]] {
        let head = with(h2(), &[("sec-websocket-key", keys)]);
        assert_eq!(headers(&open(&head, &Config::default()).unwrap()), [""; 0]);
    }
}

#[test]
fn other_methods_than_get_on_http_1() {
    for method in [Method::POST, Method::HEAD, Method::CONNECT, Method::OPTIONS] {
        let mut head = h1();
        head.method = method;
        assert!(is_handshake(&head, None));
        assert_eq!(refusal(&head), Some(MethodNotAllowed), "{}", head.method);
    }
}

#[test]
fn http_2_without_authority() {
    let mut head = with(h2(), &[("host", &[b"server.example.com"])]);
    head.uri = "/chat".parse().unwrap();
    assert_eq!(refusal(&head), Some(MissingHost));
}

#[test]
fn userinfo_in_authority() {
    let mut head = h2();
    head.uri = "https://u@server.example.com/chat".parse().unwrap();
    assert_eq!(refusal(&head), Some(InvalidHost));
}

#[test]
fn authority_of_an_http_1_target_wins_over_host() {
    let mut head = with(h1(), &[("origin", &[b"https://a.example"])]);
    head.uri = "http://a.example/chat".parse().unwrap();
    assert_eq!(refusal(&head), None);
    head.uri = "http://b.example/chat".parse().unwrap();
    assert_eq!(refusal(&head), Some(OriginRefused));
    head.headers.remove(HOST);
    assert_eq!(refusal(&head), Some(MissingHost));
}

/// Everything is wrong, and one thing after the other is put right.
#[test]
fn reasons_are_told_in_a_fixed_order() {
    let mut head = with(
        h1(),
        &[
            ("upgrade", &[]),
            ("content-length", &[b"1"]),
            ("host", &[]),
            ("sec-websocket-version", &[b"8"]),
            ("sec-websocket-key", &[]),
            ("origin", &[b"null"]),
            ("sec-websocket-protocol", &[b"(a)"]),
            ("sec-websocket-extensions", &[b";"]),
        ],
    );
    head.method = Method::POST;
    let config = Config::default()
        .subprotocols(["b"])
        .require_subprotocol(true);
    let mut reason_after = |change: Change<'_>| {
        head = with(head.clone(), &[change]);
        let reason = open(&head, &config).err();
        if reason == Some(MethodNotAllowed) {
            head.method = Method::GET;
        }
        reason
    };
    let steps: [(Change<'_>, Option<Rejection>); 11] = [
        (("x-nothing", &[]), Some(UpgradeRequired)),
        (("upgrade", &[b"websocket"]), Some(MethodNotAllowed)),
        (("x-nothing", &[]), Some(BodyPresent)),
        (("content-length", &[]), Some(MissingHost)),
        (("host", &[b"a.example"]), Some(UnsupportedVersion)),
        (("sec-websocket-version", &[b"13"]), Some(MissingKey)),
        (("sec-websocket-key", &[KEY]), Some(OriginRefused)),
        (("origin", &[]), Some(MalformedSubprotocols)),
        (
            ("sec-websocket-protocol", &[b"a"]),
            Some(NoCommonSubprotocol),
        ),
        (
            ("sec-websocket-protocol", &[b"b"]),
            Some(MalformedExtensions),
        ),
        (("sec-websocket-extensions", &[b"a"]), None),
    ];
    for (change, expected) in steps {
        assert_eq!(reason_after(change), expected, "{}", change.0);
    }
}

#[test]
fn origin_is_decided_by_the_config() {
    let head = with(h1(), &[("origin", &[b"https://evil.example"])]);
    assert_eq!(refusal(&head), Some(OriginRefused));
    assert!(open(&head, &Config::default().origin(OriginPolicy::Any)).is_ok());
}
