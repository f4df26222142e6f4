use std::collections::BTreeMap;

use http::{HeaderMap, header::SEC_WEBSOCKET_EXTENSIONS};

use super::{terms::*, *};
use crate::handshake::extensions;

mod client;

fn headers(lines: &[&str]) -> HeaderMap {
    let lines = lines.iter().map(|line| HeaderValue::from_str(line));
    let lines = lines.map(|line| (SEC_WEBSOCKET_EXTENSIONS, line.unwrap()));
    lines.collect()
}

fn accept_lines(lines: &[&str], settings: &Compression) -> Option<Agreement> {
    accept(&extensions::parse(&headers(lines)).unwrap(), settings)
}

/// What a server answers to one line.
fn answer(line: &str, settings: &Compression) -> Option<String> {
    let agreement = accept_lines(&[line], settings)?;
    Some(agreement.header_value().to_str().unwrap().to_owned())
}

fn agree_to(line: &str, settings: &Compression) -> Result<Option<Agreement>, InvalidParams> {
    let headers = headers(&[line]);
    agree(&extensions::parse(&headers).unwrap(), Some(settings))
}

fn agreed(line: &str, settings: &Compression) -> DeflateParams {
    agree_to(line, settings).unwrap().unwrap().params()
}

fn refused(line: &str, settings: &Compression) -> InvalidParams {
    agree_to(line, settings).unwrap_err()
}

/// In the order of RFC 7692 §7.1: server and client without context takeover, then their windows.
fn params(server_no: bool, client_no: bool, server_bits: u8, client_bits: u8) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: server_no,
        client_no_context_takeover: client_no,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    }
}

fn spelled(params: &str) -> String {
    if params.is_empty() {
        NAME.to_owned()
    } else {
        format!("{NAME}; {params}")
    }
}

/// Offers and answers, without the name.
fn assert_answers(table: &[(&str, &str)], settings: &Compression) {
    for &(offer, expected) in table {
        let answer = answer(&spelled(offer), settings);
        assert_eq!(answer, Some(spelled(expected)), "{offer}");
    }
}

#[test]
fn server_answers_what_is_offered() {
    let table = [
        ("", ""),
        ("server_no_context_takeover", "server_no_context_takeover"),
        ("client_no_context_takeover", "client_no_context_takeover"),
        ("client_max_window_bits", ""),
        (
            "server_max_window_bits=15; client_max_window_bits=15",
            "server_max_window_bits=15",
        ),
        (
            "client_max_window_bits=8; server_max_window_bits=8",
            "server_max_window_bits=8; client_max_window_bits=8",
        ),
        (
            "client_max_window_bits=14; server_max_window_bits=10; \
             client_no_context_takeover; server_no_context_takeover",
            "server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=14",
        ),
    ];
    assert_answers(&table, &Compression::dedicated());
}

#[test]
fn server_tells_the_connection_what_it_answers() {
    let table = [
        ("", params(false, false, 15, 15)),
        ("server_no_context_takeover", params(true, false, 15, 15)),
        ("client_no_context_takeover", params(false, true, 15, 15)),
        ("server_max_window_bits=9", params(false, false, 9, 15)),
        ("client_max_window_bits=9", params(false, false, 15, 9)),
    ];
    for (offer, expected) in table {
        let agreement = accept_lines(&[&spelled(offer)], &Compression::dedicated()).unwrap();
        assert_eq!(agreement.params(), expected, "{offer}");
    }
}

#[test]
fn server_uses_the_smaller_one_of_its_window_and_the_offered() {
    let settings = Compression::dedicated().max_window_bits(11);
    let table = [
        ("server_max_window_bits=10", "server_max_window_bits=10"),
        ("server_max_window_bits=11", "server_max_window_bits=11"),
        ("server_max_window_bits=12", "server_max_window_bits=11"),
        ("server_max_window_bits=15", "server_max_window_bits=11"),
    ];
    assert_answers(&table, &settings);
}

#[test]
fn server_tells_of_its_smaller_window_unasked() {
    let settings = Compression::dedicated().max_window_bits(14);
    assert_answers(&[("", "server_max_window_bits=14")], &settings);
    let settings = Compression::dedicated().max_window_bits(15);
    assert_answers(&[("", "")], &settings);
}

#[test]
fn server_limits_a_client_that_offers_it() {
    let settings = Compression::dedicated().peer_max_window_bits(11);
    let table = [
        ("client_max_window_bits", "client_max_window_bits=11"),
        ("client_max_window_bits=15", "client_max_window_bits=11"),
        ("client_max_window_bits=12", "client_max_window_bits=11"),
        ("client_max_window_bits=11", "client_max_window_bits=11"),
        ("client_max_window_bits=10", "client_max_window_bits=10"),
    ];
    assert_answers(&table, &settings);
}

#[test]
fn server_does_not_limit_a_client_that_does_not_offer_it() {
    let settings = Compression::dedicated().peer_max_window_bits(9);
    let agreement = accept_lines(&[NAME], &settings).unwrap();
    assert_eq!(agreement.header_value(), NAME);
    assert_eq!(agreement.params().client_max_window_bits, 15);
}

#[test]
fn server_in_shared_mode_rules_context_takeover_out() {
    let both = "server_no_context_takeover; client_no_context_takeover";
    let table = [
        ("", both),
        ("server_no_context_takeover", both),
        ("client_no_context_takeover", both),
        ("client_max_window_bits", both),
    ];
    assert_answers(&table, &Compression::shared());
    let agreement = accept_lines(&[NAME], &Compression::shared()).unwrap();
    assert_eq!(agreement.params(), params(true, true, 15, 15));
}

#[test]
fn server_declines_an_offer_that_breaks_the_rules() {
    let table = [
        "unknown",
        "unknown=8",
        "x_server_max_window_bits=8",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=10; client_max_window_bits=10",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=10",
        "client_max_window_bits=10; client_max_window_bits",
        "server_no_context_takeover=true",
        "client_no_context_takeover=true",
        "server_no_context_takeover=10",
        "client_no_context_takeover=10",
        "client_no_context_takeover=\"10\"",
        "server_max_window_bits",
    ];
    for offer in table {
        for settings in [Compression::shared(), Compression::dedicated()] {
            assert_eq!(answer(&spelled(offer), &settings), None, "{offer}");
        }
    }
}

#[test]
fn parameters_are_known_in_lower_case_only() {
    let settings = Compression::dedicated();
    for param in PARAMS {
        let value = if param.ends_with("bits") { "=10" } else { "" };
        let offer = spelled(param) + value;
        assert!(answer(&offer, &settings).is_some(), "{offer}");
        let offer = spelled(&param.to_uppercase()) + value;
        assert_eq!(answer(&offer, &settings), None, "{offer}");
    }
}

const NO_WINDOWS: [&str; 20] = [
    "0",
    "1",
    "7",
    "16",
    "08",
    "015",
    "008",
    "+8",
    "-8",
    "8.0",
    "8.",
    "0x8",
    "1e1",
    "8a",
    "ten",
    "264",
    "4294967304",
    "18446744073709551624",
    "\"10\"",
    "\"1\\0\"",
];

#[test]
fn server_takes_windows_of_8_to_15_in_plain_decimals() {
    let settings = Compression::dedicated();
    for param in [SERVER_MAX_WINDOW_BITS, CLIENT_MAX_WINDOW_BITS] {
        for bits in 8..15 {
            let offer = format!("{NAME}; {param}={bits}");
            assert_eq!(answer(&offer, &settings).as_ref(), Some(&offer));
        }
        for value in NO_WINDOWS {
            let offer = format!("{NAME}; {param}={value}");
            assert_eq!(answer(&offer, &settings), None, "{offer}");
        }
    }
}

#[test]
fn server_takes_the_first_offer_that_it_can() {
    let table: [(&[&str], Option<&str>); 13] = [
        // RFC 7692 §7.1.3.
        (&["permessage-deflate"], Some("")),
        (
            &["permessage-deflate; client_max_window_bits; server_max_window_bits=10"],
            Some("server_max_window_bits=10"),
        ),
        (
            &[
                "permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
               permessage-deflate; client_max_window_bits",
            ],
            Some("server_max_window_bits=10"),
        ),
        // As in RFC 7692 §5.1: a fallback to no parameters, in one line and in two.
        (&["permessage-deflate; use_y, permessage-deflate"], Some("")),
        (
            &["permessage-deflate; use_y", "permessage-deflate"],
            Some(""),
        ),
        (
            &[
                "permessage-deflate; server_max_window_bits=7",
                "permessage-bzip2, permessage-deflate; server_max_window_bits=16",
                "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            ],
            Some("server_max_window_bits=8"),
        ),
        (
            &["permessage-deflate", "permessage-deflate; use_y"],
            Some(""),
        ),
        (&["PerMessage-Deflate"], Some("")),
        (&["permessage-bzip2; server_no_context_takeover"], None),
        (&["x-webkit-deflate-frame", "deflate-stream"], None),
        (&["permessage-deflate2, x-permessage-deflate"], None),
        (
            &["permessage-deflate; use_y, permessage-deflate; use_x"],
            None,
        ),
        (&[], None),
    ];
    for (lines, expected) in table {
        let agreement = accept_lines(lines, &Compression::dedicated());
        let answer = agreement.map(|agreement| agreement.header_value());
        assert_eq!(
            answer,
            expected.map(|params| HeaderValue::try_from(spelled(params)).unwrap()),
            "{lines:?}"
        );
    }
}

/// What clients in use send, with the answers of both modes.
#[test]
fn server_has_an_answer_for_every_known_client() {
    const SHARED: &str = "server_no_context_takeover; client_no_context_takeover";
    let table = [
        ("Firefox, Safari", "", ""),
        (
            "Chrome, ws, undici, Bun, websockets",
            "client_max_window_bits",
            "",
        ),
        (
            "websockets with limits",
            "server_max_window_bits=12; client_max_window_bits=12",
            "server_max_window_bits=12; client_max_window_bits=12",
        ),
        ("coder, gorilla", SHARED, SHARED),
        (
            "Autobahn 13.1",
            "client_no_context_takeover; client_max_window_bits",
            "client_no_context_takeover",
        ),
        (
            "Autobahn 13.2",
            "client_no_context_takeover; client_max_window_bits; server_no_context_takeover",
            SHARED,
        ),
        (
            "Autobahn 13.3",
            "client_no_context_takeover; client_max_window_bits; server_max_window_bits=9",
            "client_no_context_takeover; server_max_window_bits=9",
        ),
        (
            "Autobahn 13.4",
            "client_no_context_takeover; client_max_window_bits; server_max_window_bits=15",
            "client_no_context_takeover; server_max_window_bits=15",
        ),
        (
            "Autobahn 13.7",
            "client_no_context_takeover; client_max_window_bits; server_no_context_takeover; \
             server_max_window_bits=9, permessage-deflate; client_no_context_takeover; \
             client_max_window_bits; server_no_context_takeover, permessage-deflate; \
             client_no_context_takeover; client_max_window_bits",
            "server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
        ),
    ];
    for (client, offer, dedicated) in table {
        let offer = spelled(offer);
        let with_takeover = answer(&offer, &Compression::dedicated());
        assert_eq!(with_takeover, Some(spelled(dedicated)), "{client}");
        let without = answer(&offer, &Compression::shared()).unwrap();
        assert!(without.starts_with(&spelled(SHARED)), "{client}");
    }
}

/// Reads an answer in the way of RFC 7692, without the code that wrote it.
fn read_answer(answer: &str) -> BTreeMap<&str, u8> {
    let mut params = answer.split("; ");
    assert_eq!(params.next(), Some("permessage-deflate"));
    let params: Vec<_> = params
        .map(|param| match param.split_once('=') {
            Some((name, bits)) => (name, bits.parse().unwrap()),
            None => (param, 0),
        })
        .collect();
    let order = |(name, _): &(&str, u8)| {
        let names = [
            "server_no_context_takeover",
            "client_no_context_takeover",
            "server_max_window_bits",
            "client_max_window_bits",
        ];
        names.iter().position(|known| known == name).unwrap()
    };
    assert!(params.is_sorted_by(|a, b| order(a) < order(b)), "{answer}");
    params.into_iter().collect()
}

/// Every offer that can be made of each parameter at most once: absent, without value, 8 to 15.
fn offers() -> impl Iterator<Item = String> {
    let flag = |name: &str| [String::new(), format!("; {name}")];
    let window = |name: &str| {
        let values = (8..=15).map(|bits| format!("; {name}={bits}"));
        flag(name).into_iter().chain(values).collect::<Vec<_>>()
    };
    let all = |left: Vec<String>, right: Vec<String>| -> Vec<String> {
        let pairs = left
            .iter()
            .flat_map(|a| right.iter().map(move |b| a.clone() + b));
        pairs.collect()
    };
    let flags = all(
        flag("client_no_context_takeover").into(),
        flag("server_no_context_takeover").into(),
    );
    let windows = all(
        window("client_max_window_bits"),
        window("server_max_window_bits"),
    );
    all(windows, flags)
        .into_iter()
        .map(|params| format!("permessage-deflate{params}"))
}

/// Settings of every kind, with memory and without.
fn all_settings() -> Vec<Compression> {
    let mut all = Vec::new();
    for ours in [9, 12, 15] {
        for peers in [9, 12, 15] {
            let modes = [
                Compression::shared(),
                Compression::dedicated(),
                Compression::dedicated().max_memory(0),
            ];
            all.extend(modes.map(|mode| mode.max_window_bits(ours).peer_max_window_bits(peers)));
        }
    }
    all
}

#[test]
fn every_answer_is_one_that_the_offer_allows() {
    for settings in all_settings() {
        for offer in offers() {
            let agreement = accept_lines(&[&offer], &settings);
            let is_valid = !format!("{offer};").contains("server_max_window_bits;");
            assert_eq!(agreement.is_some(), is_valid, "{offer}");
            if let Some(agreement) = agreement {
                check_answer(&offer, &agreement, &settings);
            }
        }
    }
}

fn check_answer(offer: &str, agreement: &Agreement, settings: &Compression) {
    let value = agreement.header_value();
    let answer = value.to_str().unwrap();
    let case = format!("{offer} -> {answer} by {settings:?}");
    let said = read_answer(answer);
    let offered = |name: &str| {
        let mut params = offer.split("; ").skip(1);
        params.find_map(|param| param.strip_prefix(name))
    };
    let limit = |name: &str| offered(name)?.strip_prefix('=')?.parse::<u8>().ok();

    let bits = |name: &str| said.get(name).copied().unwrap_or(15);
    let server = bits("server_max_window_bits");
    assert!((8..=settings.max_window_bits).contains(&server), "{case}");
    if let Some(limit) = limit("server_max_window_bits") {
        assert!(said.contains_key("server_max_window_bits"), "{case}");
        assert!(server <= limit, "{case}");
    }

    let client = bits("client_max_window_bits");
    if offered("client_max_window_bits").is_some() {
        let limit = limit("client_max_window_bits").unwrap_or(15);
        assert!(client >= 8 && client <= limit, "{case}");
        assert!(client <= settings.peer_max_window_bits, "{case}");
    } else {
        assert!(!said.contains_key("client_max_window_bits"), "{case}");
    }

    let server_no = said.contains_key("server_no_context_takeover");
    let client_no = said.contains_key("client_no_context_takeover");
    if offered("server_no_context_takeover").is_some() || !settings.context_takeover {
        assert!(server_no, "{case}");
    }
    assert_eq!(
        agreement.params(),
        params(server_no, client_no, server, client),
        "{case}"
    );
}

#[test]
fn both_ends_understand_an_agreement_in_the_same_way() {
    for server in all_settings() {
        for client in all_settings() {
            // A client without memory keeps what it does about it to itself.
            let client = client.max_memory(None);
            let offer = offer(&client);
            let accepted = accept_lines(&[offer.to_str().unwrap()], &server).unwrap();
            let answer = accepted.header_value();
            let answer = answer.to_str().unwrap();
            let agreed = agree_to(answer, &client).unwrap().unwrap();
            assert_eq!(agreed.params(), accepted.params(), "{offer:?} -> {answer}");
            assert_eq!(agreed.header_value(), answer);
        }
    }
}

#[test]
fn server_takes_over_as_long_as_there_is_memory_for_the_windows() {
    let table = [
        ("", 2 * 40_960),
        ("server_no_context_takeover", 40_960),
        ("client_no_context_takeover", 40_960),
        ("server_max_window_bits=8", 320 + 40_960),
        ("client_max_window_bits=8", 40_960 + 320),
        (
            "server_max_window_bits=10; client_max_window_bits=9",
            1280 + 640,
        ),
        (
            "server_max_window_bits=10; client_no_context_takeover",
            1280,
        ),
        ("server_no_context_takeover; client_max_window_bits=9", 640),
    ];
    for (offer, bytes) in table {
        let settings = Compression::dedicated().max_memory(bytes);
        let first = accept_lines(&[&spelled(offer)], &settings).unwrap();
        let is_taken_over = |params: DeflateParams| {
            !(params.server_no_context_takeover && params.client_no_context_takeover)
        };
        assert!(is_taken_over(first.params()), "{offer} in {bytes}");

        let second = accept_lines(&[&spelled(offer)], &settings).unwrap();
        assert!(!is_taken_over(second.params()), "{offer}, nothing left");
        drop((first, second));
        let third = accept_lines(&[&spelled(offer)], &settings).unwrap();
        assert!(is_taken_over(third.params()), "{offer}, all given back");

        let settings = settings.max_memory(bytes - 1);
        let refused = accept_lines(&[&spelled(offer)], &settings).unwrap();
        assert!(!is_taken_over(refused.params()), "{offer} in {bytes} - 1");
    }
}

#[test]
fn server_without_memory_answers_so_and_keeps_the_windows() {
    let settings = Compression::dedicated().max_memory(0).max_window_bits(12);
    let offer = "permessage-deflate; client_max_window_bits=10";
    let agreement = accept_lines(&[offer], &settings).unwrap();
    assert_eq!(agreement.params(), params(true, true, 12, 10));
    assert_eq!(
        agreement.header_value(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=12; client_max_window_bits=10"
    );
}

#[test]
fn nothing_is_reserved_without_context_takeover() {
    let shared = Compression::shared().max_memory(1 << 20);
    let agreement = accept_lines(&[NAME], &shared).unwrap();
    assert!(agreement.into_parts().1.is_none());

    let both = spelled("server_no_context_takeover; client_no_context_takeover");
    let agreement = accept_lines(&[&both], &Compression::dedicated()).unwrap();
    assert!(agreement.into_parts().1.is_none());
    let agreement = agree_to(&both, &Compression::dedicated()).unwrap().unwrap();
    assert!(agreement.into_parts().1.is_none());
}

#[test]
fn memory_is_taken_until_the_reservation_is_dropped() {
    let settings = Compression::dedicated().max_memory(2 * 40_960);
    let accept = || accept_lines(&[NAME], &settings).unwrap().into_parts();
    let (first, reservation) = accept();
    assert_eq!(first, DeflateParams::default());
    assert_eq!(accept().0, params(true, true, 15, 15));
    drop(reservation);
    assert_eq!(accept().0, DeflateParams::default());
}
