use super::*;

#[test]
fn client_offers_what_is_set() {
    let shared = Compression::shared;
    let dedicated = Compression::dedicated;
    let table = [
        (dedicated(), "client_max_window_bits"),
        (dedicated().max_window_bits(14), "client_max_window_bits=14"),
        (
            dedicated().peer_max_window_bits(14),
            "server_max_window_bits=14; client_max_window_bits",
        ),
        (
            dedicated().max_window_bits(9).peer_max_window_bits(10),
            "server_max_window_bits=10; client_max_window_bits=9",
        ),
        (
            shared(),
            "server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
        ),
        (
            shared().max_window_bits(9).peer_max_window_bits(10),
            "server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=9",
        ),
    ];
    for (settings, expected) in table {
        assert_eq!(offer(&settings), spelled(expected).as_str());
    }
}

#[test]
fn client_agrees_to_what_is_answered() {
    let table = [
        ("", params(false, false, 15, 15)),
        ("server_no_context_takeover", params(true, false, 15, 15)),
        ("client_no_context_takeover", params(false, true, 15, 15)),
        ("server_max_window_bits=8", params(false, false, 8, 15)),
        ("server_max_window_bits=15", params(false, false, 15, 15)),
        ("client_max_window_bits=8", params(false, false, 15, 8)),
        ("client_max_window_bits=15", params(false, false, 15, 15)),
        // What websockets answers.
        (
            "server_max_window_bits=12; client_max_window_bits=12",
            params(false, false, 12, 12),
        ),
        // What gorilla and coder answer.
        (
            "server_no_context_takeover; client_no_context_takeover",
            params(true, true, 15, 15),
        ),
    ];
    for (answer, expected) in table {
        let params = agreed(&spelled(answer), &Compression::dedicated());
        assert_eq!(params, expected, "{answer}");
    }
    let params = agreed("Permessage-Deflate", &Compression::dedicated());
    assert_eq!(params, DeflateParams::default());
}

#[test]
fn client_agrees_to_no_extension() {
    let agreement = agree_to("", &Compression::dedicated()).unwrap();
    assert!(agreement.is_none());
    assert!(agree(&[], None).unwrap().is_none());
}

#[test]
fn client_uses_the_smaller_one_of_its_window_and_the_answered() {
    let settings = Compression::dedicated().max_window_bits(11);
    for (answer, bits) in [
        ("", 11),
        ("client_max_window_bits=15", 11),
        ("client_max_window_bits=12", 11),
        ("client_max_window_bits=11", 11),
        ("client_max_window_bits=10", 10),
    ] {
        let params = agreed(&spelled(answer), &settings);
        assert_eq!(params.client_max_window_bits, bits, "{answer}");
    }
}

#[test]
fn client_in_shared_mode_does_not_take_over_whatever_is_answered() {
    let answer = "permessage-deflate; server_no_context_takeover";
    let params = agreed(answer, &Compression::shared());
    assert!(params.client_no_context_takeover && params.server_no_context_takeover);
}

#[test]
fn client_refuses_an_answer_that_breaks_the_rules() {
    use InvalidParams::{InvalidValue, RepeatedParameter, UnknownParameter};

    let table = [
        ("unknown", UnknownParameter),
        ("Client_No_Context_Takeover", UnknownParameter),
        (
            "server_no_context_takeover; server_no_context_takeover",
            RepeatedParameter(SERVER_NO_CONTEXT_TAKEOVER),
        ),
        (
            "client_no_context_takeover; client_no_context_takeover",
            RepeatedParameter(CLIENT_NO_CONTEXT_TAKEOVER),
        ),
        (
            "server_max_window_bits=8; server_max_window_bits=8",
            RepeatedParameter(SERVER_MAX_WINDOW_BITS),
        ),
        (
            "client_max_window_bits=8; client_max_window_bits=8",
            RepeatedParameter(CLIENT_MAX_WINDOW_BITS),
        ),
        (
            "server_no_context_takeover=8",
            InvalidValue(SERVER_NO_CONTEXT_TAKEOVER),
        ),
        (
            "client_no_context_takeover=true",
            InvalidValue(CLIENT_NO_CONTEXT_TAKEOVER),
        ),
        (
            "server_max_window_bits",
            InvalidValue(SERVER_MAX_WINDOW_BITS),
        ),
        (
            "client_max_window_bits",
            InvalidValue(CLIENT_MAX_WINDOW_BITS),
        ),
    ];
    for (answer, error) in table {
        let refusal = refused(&spelled(answer), &Compression::dedicated());
        assert_eq!(refusal, error, "{answer}");
    }
    for param in [SERVER_MAX_WINDOW_BITS, CLIENT_MAX_WINDOW_BITS] {
        for value in NO_WINDOWS {
            let answer = format!("{NAME}; {param}={value}");
            let refusal = refused(&answer, &Compression::dedicated());
            assert_eq!(refusal, InvalidValue(param), "{answer}");
        }
    }
}

#[test]
fn client_refuses_extensions_that_it_did_not_offer() {
    use InvalidParams::{NotOffered, SeveralExtensions};

    let table = [
        ("permessage-bzip2", NotOffered),
        ("permessage-deflate2", NotOffered),
        ("permessage-deflate, permessage-deflate", SeveralExtensions),
        ("permessage-deflate, permessage-bzip2", SeveralExtensions),
    ];
    for (answer, error) in table {
        assert_eq!(
            refused(answer, &Compression::dedicated()),
            error,
            "{answer}"
        );
    }
    let headers = headers(&[NAME]);
    let refusal = agree(&extensions::parse(&headers).unwrap(), None).unwrap_err();
    assert_eq!(refusal, NotOffered);
}

#[test]
fn client_holds_the_server_to_the_window_it_asked_for() {
    let settings = Compression::dedicated().peer_max_window_bits(10);
    assert_eq!(
        refused(NAME, &settings),
        InvalidParams::MissingParameter(SERVER_MAX_WINDOW_BITS)
    );
    assert_eq!(
        refused("permessage-deflate; server_max_window_bits=11", &settings),
        InvalidParams::WindowTooLarge {
            bits: 11,
            limit: 10
        }
    );
    for bits in [8, 10] {
        let answer = format!("permessage-deflate; server_max_window_bits={bits}");
        assert_eq!(agreed(&answer, &settings).server_max_window_bits, bits);
    }
}

#[test]
fn client_holds_the_server_to_no_context_takeover() {
    let missing = InvalidParams::MissingParameter(SERVER_NO_CONTEXT_TAKEOVER);
    for answer in ["", "client_no_context_takeover"] {
        assert_eq!(refused(&spelled(answer), &Compression::shared()), missing);
    }
}

#[test]
fn client_without_memory_agrees_and_does_not_take_over_itself() {
    let settings = Compression::dedicated().max_memory(2 * 40_960 - 1);
    let agreement = agree_to(NAME, &settings).unwrap().unwrap();
    assert_eq!(agreement.params(), params(false, true, 15, 15));
    // The server's window still counts while there is room for it, and is there without.
    let next = agree_to(NAME, &settings).unwrap().unwrap();
    assert_eq!(next.params(), params(false, true, 15, 15));
    assert!(agreement.into_parts().1.is_some());
    assert!(next.into_parts().1.is_none());
}

#[test]
fn client_takes_over_as_long_as_there_is_memory_for_the_windows() {
    let answer = "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9";
    let settings = Compression::dedicated().max_memory(1280 + 640);
    let first = agree_to(answer, &settings).unwrap().unwrap();
    assert_eq!(first.params(), params(false, false, 10, 9));
    assert_eq!(agreed(answer, &settings), params(false, true, 10, 9));
    drop(first);
    assert_eq!(agreed(answer, &settings), params(false, false, 10, 9));
}

#[test]
fn errors_say_what_is_wrong_with_the_answer() {
    let table = [
        (
            InvalidParams::SeveralExtensions,
            "more extensions than were offered",
        ),
        (InvalidParams::NotOffered, "extension that was not offered"),
        (
            InvalidParams::UnknownParameter,
            "unknown parameter of permessage-deflate",
        ),
        (
            InvalidParams::RepeatedParameter(SERVER_MAX_WINDOW_BITS),
            "parameter server_max_window_bits is repeated",
        ),
        (
            InvalidParams::InvalidValue(SERVER_MAX_WINDOW_BITS),
            "invalid value of parameter server_max_window_bits",
        ),
        (
            InvalidParams::MissingParameter(SERVER_NO_CONTEXT_TAKEOVER),
            "parameter server_no_context_takeover is missing",
        ),
        (
            InvalidParams::WindowTooLarge {
                bits: 11,
                limit: 10,
            },
            "server_max_window_bits is 11, at most 10 was offered",
        ),
    ];
    for (error, text) in table {
        assert_eq!(error.to_string(), text);
    }
}
