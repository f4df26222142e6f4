use super::*;

#[test]
fn http_1_handshake_is_answered_as_in_the_rfc() {
    let head = with(
        h1(),
        &[
            ("origin", &[b"http://server.example.com"]),
            ("sec-websocket-protocol", &[b"chat, superchat"]),
        ],
    );
    let opening = open(&head, &Config::default().subprotocols(["chat"])).unwrap();
    assert_eq!(opening.response().status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(
        headers(&opening),
        [
            "connection: Upgrade",
            &format!("sec-websocket-accept: {ACCEPT}"),
            "sec-websocket-protocol: chat",
            "upgrade: websocket",
        ]
    );
}

#[test]
fn http_2_handshake_is_answered_with_200_and_no_headers() {
    let opening = open(&h2(), &Config::default()).unwrap();
    assert_eq!(opening.response().status(), StatusCode::OK);
    assert_eq!(headers(&opening), [""; 0]);
}

#[test]
fn http_2_handshake_with_a_key_and_subprotocol_has_both_answered() {
    let changes: [Change<'_>; 2] = [
        ("sec-websocket-key", &[KEY]),
        ("sec-websocket-protocol", &[b"chat"]),
    ];
    let head = with(h2(), &changes);
    let opening = open(&head, &Config::default().subprotocols(["chat"])).unwrap();
    assert_eq!(
        headers(&opening),
        [
            &format!("sec-websocket-accept: {ACCEPT}"),
            "sec-websocket-protocol: chat",
        ]
    );
}

#[test]
fn offered_extensions_are_not_answered() {
    for head in [h1(), h2()] {
        let without = headers(&open(&head, &Config::default()).unwrap());
        let head = with(
            head,
            &[("sec-websocket-extensions", &[b"permessage-deflate", b"x"])],
        );
        assert_eq!(headers(&open(&head, &Config::default()).unwrap()), without);
    }
}

#[test]
fn scheme_of_http_2_is_not_looked_at() {
    let origin: [Change<'_>; 1] = [("origin", &[b"http://server.example.com"])];
    for uri in [
        "https://server.example.com/",
        "http://server.example.com/",
        "x://server.example.com/",
    ] {
        let mut head = with(h2(), &origin);
        head.uri = uri.parse().unwrap();
        assert_eq!(refusal(&head), None, "{uri}");
    }
}

#[test]
fn opening_can_be_sent_to_another_thread_and_is_small() {
    fn is_free<T: Send + Sync + 'static>(_: &T) {}
    is_free(&open(&h1(), &Config::default()).unwrap());
    assert!(size_of::<Accepted>() <= 160);
}
