use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

fn offering(lines: &[&[u8]]) -> [Parts; 2] {
    [h1(), h2()].map(|head| with(head, &[("sec-websocket-protocol", lines)]))
}

#[test]
fn first_configured_one_that_is_offered_is_chosen() {
    let config = Config::default().subprotocols(["v3", "v2", "v1"]);
    for head in offering(&[b"v1, v0", b"v2"]) {
        assert_eq!(open(&head, &config).unwrap().subprotocol(), Some("v2"));
    }
}

#[test]
fn case_matters() {
    let config = Config::default().subprotocols(["Chat"]);
    for head in offering(&[b"chat, CHAT"]) {
        assert_eq!(open(&head, &config).unwrap().subprotocol(), None);
    }
}

#[test]
fn none_in_common_opens_without_or_is_refused_by_config() {
    let config = Config::default().subprotocols(["v2"]);
    for head in offering(&[b"v1"]).into_iter().chain(offering(&[])) {
        let opening = open(&head, &config).unwrap();
        assert_eq!(opening.subprotocol(), None);
        assert!(
            !opening
                .response()
                .headers()
                .contains_key(SEC_WEBSOCKET_PROTOCOL)
        );
        let strict = config.clone().require_subprotocol(true);
        assert_eq!(
            open(&head, &strict).err(),
            Some(Rejection::NoCommonSubprotocol)
        );
    }
}

#[test]
fn one_in_common_satisfies_the_config_that_requires_one() {
    let config = Config::default()
        .subprotocols(["v2"])
        .require_subprotocol(true);
    for head in offering(&[b"v1, v2"]) {
        assert_eq!(open(&head, &config).unwrap().subprotocol(), Some("v2"));
    }
}

#[test]
fn offers_are_listed_in_the_order_of_the_client() {
    for head in offering(&[b"b ,, a", b"c, b"]) {
        let opening = open(&head, &Config::default()).unwrap();
        let offered: Vec<&str> = opening.offered_subprotocols().collect();
        assert_eq!(offered, ["b", "a", "c", "b"]);
    }
    for head in offering(&[]) {
        assert_eq!(
            open(&head, &Config::default())
                .unwrap()
                .offered_subprotocols()
                .count(),
            0
        );
    }
}

#[test]
fn hook_may_choose_any_offer_and_no_other() {
    let config = Config::default().subprotocols(["a"]);
    for head in offering(&[b"a, b"]) {
        let mut opening = open(&head, &config).unwrap();
        assert!(opening.select_subprotocol("b"));
        assert_eq!(opening.subprotocol(), Some("b"));
        assert_eq!(opening.response().headers()[SEC_WEBSOCKET_PROTOCOL], "b");
        assert!(!opening.select_subprotocol("c"));
        assert_eq!(opening.subprotocol(), Some("b"));
    }
}

const NOT_TOKENS: [&str; 8] = ["a\r", "a\n", "a\0", "a,b", "a\tb", "a b", "", "\u{e9}"];

#[test]
fn hook_cannot_put_other_characters_into_the_answer() {
    for head in offering(&[b"a, b"]) {
        let mut opening = open(&head, &Config::default()).unwrap();
        for name in NOT_TOKENS {
            assert!(!opening.select_subprotocol(name), "{name:?}");
        }
        assert!(
            !opening
                .response()
                .headers()
                .contains_key(SEC_WEBSOCKET_PROTOCOL)
        );
    }
}

#[test]
fn config_cannot_put_other_characters_into_the_answer() {
    for name in NOT_TOKENS {
        let configure = AssertUnwindSafe(|| Config::default().subprotocols([name]));
        assert!(catch_unwind(configure).is_err(), "{name:?}");
    }
    assert!(catch_unwind(|| Config::default().subprotocols(["a"])).is_ok());
}

#[test]
fn long_list_is_taken_whole() {
    let line = b"a,".repeat(32 << 10);
    for head in offering(&[&line, b"z"]) {
        let opening = open(&head, &Config::default().subprotocols(["y", "z"])).unwrap();
        assert_eq!(opening.subprotocol(), Some("z"));
        assert_eq!(opening.offered_subprotocols().count(), (32 << 10) + 1);
    }
}
