use super::*;

fn negotiate_error(head: &Parts, protocol: Option<&str>) -> Rejection {
    negotiate(head, protocol, &Config::default()).expect_err("a refusal")
}

#[test]
fn upgrade_is_found_in_any_list_case_and_line() {
    let table: [(&str, &[Change<'_>]); 6] = [
        ("plain", &[]),
        ("firefox", &[("connection", &[b"keep-alive, Upgrade"])]),
        (
            "several lines",
            &[("connection", &[b"keep-alive", b"upgrade"])],
        ),
        (
            "upper case",
            &[("connection", &[b"UPGRADE"]), ("upgrade", &[b"WebSocket"])],
        ),
        (
            "another protocol first",
            &[("upgrade", &[b"h2c, websocket"])],
        ),
        (
            "another protocol's line first",
            &[("upgrade", &[b"h2c", b"websocket"])],
        ),
    ];
    for (name, changes) in table {
        assert!(is_handshake(&with(h1(), changes), None), "{name}");
    }
}

#[test]
fn other_requests_are_left_alone() {
    let table: [(&str, &[Change<'_>]); 8] = [
        ("no Connection", &[("connection", &[])]),
        ("no Upgrade", &[("upgrade", &[])]),
        ("other Connection", &[("connection", &[b"keep-alive"])]),
        ("other Upgrade", &[("upgrade", &[b"h2c"])]),
        ("longer token", &[("connection", &[b"notupgrade"])]),
        ("longer protocol", &[("upgrade", &[b"websockets"])]),
        (
            "protocol with a version",
            &[("upgrade", &[b"websocket/13"])],
        ),
        (
            "two tokens in one element",
            &[("connection", &[b"keep-alive upgrade"])],
        ),
    ];
    for (name, changes) in table {
        let head = with(h1(), changes);
        assert!(!is_handshake(&head, None), "{name}");
        assert_eq!(
            negotiate_error(&head, None),
            Rejection::UpgradeRequired,
            "{name}"
        );
    }
}

#[test]
fn upgrade_is_for_http_1_1_only() {
    for version in [
        Version::HTTP_09,
        Version::HTTP_10,
        Version::HTTP_2,
        Version::HTTP_3,
    ] {
        let mut head = h1();
        head.version = version;
        assert!(!is_handshake(&head, WEBSOCKET), "{version:?}");
        assert_eq!(
            refusal(&head),
            Some(Rejection::UpgradeRequired),
            "{version:?}"
        );
    }
}

#[test]
fn extended_connect_is_for_http_2_and_later_only() {
    for (version, expected) in [
        (Version::HTTP_10, false),
        (Version::HTTP_11, false),
        (Version::HTTP_2, true),
        (Version::HTTP_3, true),
    ] {
        let mut head = h2();
        head.version = version;
        assert_eq!(is_handshake(&head, WEBSOCKET), expected, "{version:?}");
        assert_eq!(refusal(&head).is_none(), expected, "{version:?}");
    }
}

#[test]
fn protocol_of_extended_connect_may_have_any_case() {
    for protocol in ["websocket", "WebSocket", "WEBSOCKET"] {
        assert!(is_handshake(&h2(), Some(protocol)), "{protocol}");
    }
}

#[test]
fn other_protocols_are_unsupported() {
    for protocol in [
        "connect-udp",
        "websockets",
        "websocket/13",
        "websocket, x",
        "",
    ] {
        assert!(!is_handshake(&h2(), Some(protocol)), "{protocol}");
        let rejection = negotiate_error(&h2(), Some(protocol));
        assert_eq!(rejection, Rejection::UnsupportedProtocol, "{protocol}");
    }
}

#[test]
fn connect_on_http_1_has_no_protocol_to_be_unsupported() {
    let mut head = h2();
    head.version = Version::HTTP_11;
    let rejection = negotiate_error(&head, Some("connect-udp"));
    assert_eq!(rejection, Rejection::UpgradeRequired);
}

#[test]
fn plain_connect_is_no_handshake() {
    assert!(!is_handshake(&h2(), None));
    assert_eq!(negotiate_error(&h2(), None), Rejection::UpgradeRequired);
}

#[test]
fn protocol_without_connect_is_no_handshake() {
    let mut head = h2();
    head.method = Method::GET;
    assert!(!is_handshake(&head, WEBSOCKET));
    assert_eq!(
        negotiate_error(&head, Some("connect-udp")),
        Rejection::UpgradeRequired
    );
}
