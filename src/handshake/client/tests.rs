use http::{Request, Response};

use super::*;

fn head(version: Version, uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().version(version).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn offered(version: Version, uri: &str, config: &Config) -> (request::Parts, Offer) {
    let mut head = head(version, uri, &[]);
    let offer = offer(&mut head, config).unwrap();
    (head, offer)
}

/// An answer to a handshake over HTTP/1.1, with some lines in place of the right ones.
fn answer(head: &request::Parts, changes: &[(&str, &[&str])]) -> Parts {
    let accept = key::accept(head.headers[SEC_WEBSOCKET_KEY].as_bytes());
    let (mut answer, ()) = Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .header("connection", "Upgrade")
        .header("sec-websocket-accept", accept)
        .body(())
        .unwrap()
        .into_parts();
    for (name, lines) in changes {
        let name: http::HeaderName = name.parse().unwrap();
        answer.headers.remove(&name);
        for line in *lines {
            answer.headers.append(&name, line.parse().unwrap());
        }
    }
    answer
}

/// RFC 6455 §4.1: what the request has to have.
#[test]
fn http1_handshake_is_an_upgrade() {
    let (head, _) = offered(
        Version::HTTP_11,
        "ws://example.com:8080/chat?x=1",
        &Config::default(),
    );
    assert_eq!(head.method, Method::GET);
    assert_eq!(head.uri, "/chat?x=1");
    let headers = &head.headers;
    assert_eq!(headers[HOST], "example.com:8080");
    assert_eq!(headers[UPGRADE], "websocket");
    assert_eq!(headers[CONNECTION], "Upgrade");
    assert_eq!(headers[SEC_WEBSOCKET_VERSION], "13");
    assert!(key::is_valid(headers[SEC_WEBSOCKET_KEY].as_bytes()));
    assert!(!headers.contains_key(SEC_WEBSOCKET_PROTOCOL));
    assert!(!headers.contains_key(SEC_WEBSOCKET_EXTENSIONS));
}

/// RFC 8441 §4, §5.
#[test]
fn http2_handshake_is_an_extended_connect() {
    for (uri, expected) in [
        ("wss://example.com/chat", "https://example.com/chat"),
        ("WS://example.com", "http://example.com/"),
        ("https://[::1]:8443/?q", "https://[::1]:8443/?q"),
    ] {
        let (head, _) = offered(Version::HTTP_2, uri, &Config::default());
        assert_eq!(head.method, Method::CONNECT);
        assert_eq!(head.uri, expected);
        for name in [HOST, UPGRADE, CONNECTION, SEC_WEBSOCKET_KEY] {
            assert!(!head.headers.contains_key(&name), "{name}");
        }
        assert_eq!(head.headers[SEC_WEBSOCKET_VERSION], "13");
    }
}

#[test]
fn each_handshake_has_a_key_of_its_own() {
    let keys = [(); 2].map(|()| {
        let (head, _) = offered(Version::HTTP_11, "ws://a/", &Config::default());
        head.headers[SEC_WEBSOCKET_KEY].clone()
    });
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn what_the_request_says_of_the_handshake_is_replaced() {
    let mine = [
        ("connection", "close"),
        ("upgrade", "h2c"),
        ("sec-websocket-key", "mine"),
        ("sec-websocket-version", "8"),
        ("sec-websocket-extensions", "x-mine"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("cookie", "a=b"),
        ("origin", "http://example.com"),
    ];
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let mut head = head(version, "ws://example.com/", &mine);
        offer(&mut head, &Config::default()).unwrap();
        for name in [
            "content-length",
            "transfer-encoding",
            "sec-websocket-extensions",
        ] {
            assert!(!head.headers.contains_key(name), "{name}");
        }
        assert_eq!(head.headers["sec-websocket-version"], "13");
        assert_ne!(
            head.headers.get("connection"),
            Some(&HeaderValue::from_static("close"))
        );
        assert_ne!(
            head.headers.get("sec-websocket-key"),
            Some(&HeaderValue::from_static("mine"))
        );
        assert_eq!(head.headers["cookie"], "a=b");
        assert_eq!(head.headers["origin"], "http://example.com");
    }
}

#[test]
fn host_of_the_request_is_kept_on_http1() {
    let mut head = head(Version::HTTP_11, "/chat", &[("host", "other")]);
    offer(&mut head, &Config::default()).unwrap();
    assert_eq!(head.headers[HOST], "other");
}

/// RFC 9110 §4.2.4.
#[test]
fn user_and_password_do_not_reach_the_host() {
    let (head, _) = offered(
        Version::HTTP_11,
        "ws://me:secret@example.com/",
        &Config::default(),
    );
    assert_eq!(head.headers[HOST], "example.com");
    let (head, _) = offered(
        Version::HTTP_2,
        "ws://me:secret@example.com/",
        &Config::default(),
    );
    assert_eq!(head.uri, "http://example.com/");
}

/// The target and the host of a handshake, as they are sent.
fn sent(version: Version, uri: &str) -> (String, String) {
    let (head, _) = offered(version, uri, &Config::default());
    if version == Version::HTTP_2 {
        let path = head.uri.path_and_query().unwrap().as_str();
        (path.to_owned(), head.uri.authority().unwrap().to_string())
    } else {
        let host = head.headers[HOST].to_str().unwrap();
        // Not what it displays: that of an empty one has a slash.
        let path = head.uri.path_and_query().unwrap();
        assert_eq!(head.uri.to_string(), path.as_str());
        (path.as_str().to_owned(), host.to_owned())
    }
}

/// RFC 6455 §4.1 items 4 and 5, RFC 9112 §3.2.1, RFC 9113 §8.3.1.
#[test]
fn target_begins_with_a_slash() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (uri, target) in [
            ("ws://a", "/"),
            ("ws://a/", "/"),
            ("ws://a?x", "/?x"),
            ("ws://a?", "/?"),
            ("ws://a#f", "/"),
            ("ws://a?x#f", "/?x"),
            ("ws://a/#f", "/"),
            ("ws://a//b", "//b"),
            ("ws://a?/b", "/?/b"),
            ("ws://a:80?x", "/?x"),
            ("ws://a/\u{e4}?\u{f6}", "/%C3%A4?%C3%B6"),
        ] {
            assert_eq!(sent(version, uri).0, target, "{uri} {version:?}");
        }
    }
}

/// RFC 6455 §4.1 item 4: the port is there where it is not the scheme's own.
#[test]
fn host_leaves_out_what_the_server_need_not_know() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        for (uri, host) in [
            ("ws://a:80/", "a"),
            ("http://a:80/", "a"),
            ("wss://a:443/", "a"),
            ("HTTPS://a:443/", "a"),
            ("ws://a:443/", "a:443"),
            ("https://a:80/", "a:80"),
            ("ws://a:8080/", "a:8080"),
            ("ws://a:/", "a"),
            ("ws://a:?x", "a"),
            ("ws://a:0/", "a:0"),
            ("ws://a:65535/", "a:65535"),
            ("wss://u:p@[::1]:443/", "[::1]"),
            ("wss://[::1]:/", "[::1]"),
            ("ws://[::1]:443/", "[::1]:443"),
            ("ws://[fe80::1%25eth0]:81/", "[fe80::1]:81"),
        ] {
            assert_eq!(sent(version, uri).1, host, "{uri} {version:?}");
        }
    }
}

#[test]
fn hosts_and_ports_that_are_none_are_told_apart() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let refusal = |uri, headers: &[(&str, &str)]| {
            offer(&mut head(version, uri, headers), &Config::default()).unwrap_err()
        };
        for (uri, expected) in [
            ("ws://a:65536/", InvalidRequest::Port),
            ("ws://a:99999?x", InvalidRequest::Port),
            ("ws://u:1@a:99999/", InvalidRequest::Port),
            ("wss://[::1]:99999/", InvalidRequest::Port),
            ("ws://a:8x/", InvalidRequest::Port),
            ("ws://[::g]/", InvalidRequest::Host),
            ("ws://[::1]a/", InvalidRequest::Host),
            ("ws://:80/", InvalidRequest::MissingHost),
        ] {
            assert_eq!(refusal(uri, &[]), expected, "{uri} {version:?}");
        }
        for (host, expected) in [
            ("a:65536", InvalidRequest::Port),
            ("[::1]:99999", InvalidRequest::Port),
            ("a b", InvalidRequest::Host),
            ("u@a", InvalidRequest::Host),
            ("", InvalidRequest::MissingHost),
        ] {
            let found = refusal("ws://a/", &[("host", host)]);
            assert_eq!(found, expected, "{host:?} {version:?}");
        }
        let twice = [("host", "a"), ("host", "a")];
        assert_eq!(refusal("ws://a/", &twice), InvalidRequest::Host);
    }
    let asterisk = &mut head(Version::HTTP_11, "*", &[("host", "a")]);
    let refusal = offer(asterisk, &Config::default()).unwrap_err();
    assert_eq!(refusal, InvalidRequest::Path);
}

#[test]
fn requests_that_lead_nowhere_are_refused() {
    let config = Config::default();
    let refusal = |version, uri, headers: &[(&str, &str)]| {
        offer(&mut head(version, uri, headers), &config).unwrap_err()
    };
    assert_eq!(
        refusal(Version::HTTP_11, "ftp://a/", &[]),
        InvalidRequest::Scheme
    );
    assert_eq!(
        refusal(Version::HTTP_11, "/chat", &[]),
        InvalidRequest::MissingHost
    );
    assert_eq!(
        refusal(Version::HTTP_2, "/chat", &[]),
        InvalidRequest::MissingHost
    );
    assert_eq!(
        refusal(Version::HTTP_2, "a:80", &[]),
        InvalidRequest::Scheme
    );
    let names = [("sec-websocket-protocol", "a b")];
    assert_eq!(
        refusal(Version::HTTP_11, "ws://a/", &names),
        InvalidRequest::Subprotocols
    );
}

#[test]
fn subprotocols_come_from_the_configuration_or_the_request() {
    let config = Config::default().subprotocols(["chat.v2", "chat.v1"]);
    let (built, _) = offered(Version::HTTP_11, "ws://a/", &config);
    assert_eq!(built.headers[SEC_WEBSOCKET_PROTOCOL], "chat.v2, chat.v1");

    let mut own = head(
        Version::HTTP_11,
        "ws://a/",
        &[("sec-websocket-protocol", "mine")],
    );
    let offer = offer(&mut own, &config).unwrap();
    assert_eq!(own.headers[SEC_WEBSOCKET_PROTOCOL], "mine");
    let accepted = offer.check(&answer(&own, &[("sec-websocket-protocol", &["mine"])]));
    assert_eq!(accepted.unwrap().subprotocol(), Some("mine"));
}

#[test]
fn only_offered_subprotocols_are_accepted() {
    let config = Config::default().subprotocols(["chat.v2", "chat.v1"]);
    let (head, offer) = offered(Version::HTTP_11, "ws://a/", &config);
    let check = |lines: &[&str]| {
        let answer = answer(&head, &[("sec-websocket-protocol", lines)]);
        offer
            .check(&answer)
            .map(|accepted| accepted.protocol.map(String::from))
    };
    assert_eq!(check(&[]).unwrap(), None);
    assert_eq!(check(&["chat.v1"]).unwrap().as_deref(), Some("chat.v1"));
    for lines in [
        &["chat"] as &[_],
        &["Chat.v1"],
        &["chat.v1, chat.v2"],
        &[""],
        &["chat.v1", "chat.v1"],
    ] {
        assert_eq!(
            check(lines).unwrap_err(),
            InvalidResponse::Subprotocol,
            "{lines:?}"
        );
    }
    let (head, offer) = offered(Version::HTTP_11, "ws://a/", &Config::default());
    let answer = answer(&head, &[("sec-websocket-protocol", &["chat"])]);
    assert_eq!(
        offer.check(&answer).unwrap_err(),
        InvalidResponse::Subprotocol
    );
}

/// RFC 6455 §4.1, the list of what the client must fail on.
#[test]
fn http1_answers_that_do_not_upgrade_are_refused() {
    let (head, offer) = offered(Version::HTTP_11, "ws://a/", &Config::default());
    let right = key::accept(head.headers[SEC_WEBSOCKET_KEY].as_bytes());
    let right = right.to_str().unwrap();
    type Case<'a> = (&'a str, &'a [&'a str], Option<InvalidResponse>);
    let table: [Case<'_>; 12] = [
        ("upgrade", &[], Some(InvalidResponse::Upgrade)),
        ("upgrade", &["h2c"], Some(InvalidResponse::Upgrade)),
        ("upgrade", &["WebSocket"], None),
        ("connection", &[], Some(InvalidResponse::Connection)),
        ("connection", &["close"], Some(InvalidResponse::Connection)),
        ("connection", &["keep-alive, UPGRADE"], None),
        ("sec-websocket-accept", &[], Some(InvalidResponse::Accept)),
        (
            "sec-websocket-accept",
            &["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],
            Some(InvalidResponse::Accept),
        ),
        (
            "sec-websocket-accept",
            &[right, right],
            Some(InvalidResponse::Accept),
        ),
        ("sec-websocket-accept", &[right], None),
        (
            "sec-websocket-extensions",
            &["permessage-deflate"],
            Some(InvalidResponse::Deflate(deflate::InvalidParams::NotOffered)),
        ),
        (
            "sec-websocket-extensions",
            &["a b"],
            Some(InvalidResponse::Extensions(
                extensions::parse(&invalid()).unwrap_err(),
            )),
        ),
    ];
    for (name, lines, expected) in table {
        let result = offer.check(&answer(&head, &[(name, lines)]));
        assert_eq!(result.err(), expected, "{name}: {lines:?}");
    }
}

fn invalid() -> HeaderMap {
    HeaderMap::from_iter([(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("a b"))])
}

#[test]
fn status_decides_by_version() {
    let (_, http1) = offered(Version::HTTP_11, "ws://a/", &Config::default());
    let (_, http2) = offered(Version::HTTP_2, "ws://a/", &Config::default());
    for (status, by_http1, by_http2) in [
        (101, true, false),
        (200, false, true),
        (204, false, true),
        (301, false, false),
        (401, false, false),
        (503, false, false),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(http1.is_accepted(status), by_http1, "{status}");
        assert_eq!(http2.is_accepted(status), by_http2, "{status}");
    }
}

#[test]
fn http2_answers_need_no_key() {
    let config = Config::default().subprotocols(["chat"]);
    let (_, offer) = offered(Version::HTTP_2, "ws://a/", &config);
    let (answer, ()) = Response::builder()
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap()
        .into_parts();
    assert_eq!(offer.check(&answer).unwrap().subprotocol(), Some("chat"));
}

#[cfg(feature = "deflate")]
#[test]
fn compression_is_offered_and_agreed_on() {
    let config = Config::default().compression(Compression::shared());
    let (head, offer) = offered(Version::HTTP_11, "ws://a/", &config);
    assert_eq!(
        head.headers[SEC_WEBSOCKET_EXTENSIONS],
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         client_max_window_bits"
    );
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    let accepted = offer.check(&answer(&head, &[("sec-websocket-extensions", &[agreed])]));
    assert!(accepted.unwrap().deflate().is_some());
    let accepted = offer.check(&answer(&head, &[]));
    assert!(accepted.unwrap().deflate().is_none());
}
