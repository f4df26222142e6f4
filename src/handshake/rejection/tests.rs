use super::*;
use Rejection::*;

const PLAIN: &str = "content-type: text/plain; charset=utf-8";
const CLOSE: &str = "connection: close";
const CLOSE_UPGRADE: &str = "connection: close, upgrade";
const WEBSOCKET: &str = "upgrade: websocket";
const RETRY: &str = "retry-after: 5";
const THIRTEEN: &str = "sec-websocket-version: 13";
const GET: &str = "allow: GET";

/// Reason, status and further headers on HTTP/1.1, the same on HTTP/2.
type Row = (
    Rejection,
    u16,
    &'static [&'static str],
    u16,
    &'static [&'static str],
);

const TABLE: [Row; 21] = [
    (UpgradeRequired, 426, &[CLOSE_UPGRADE, WEBSOCKET], 400, &[]),
    (UnsupportedProtocol, 501, &[CLOSE], 501, &[]),
    (MethodNotAllowed, 405, &[GET, CLOSE], 405, &[GET]),
    (BodyPresent, 400, &[CLOSE], 400, &[]),
    (MissingHost, 400, &[CLOSE], 400, &[]),
    (DuplicateHost, 400, &[CLOSE], 400, &[]),
    (InvalidHost, 400, &[CLOSE], 400, &[]),
    (
        UnsupportedVersion,
        426,
        &[CLOSE_UPGRADE, THIRTEEN, WEBSOCKET],
        400,
        &[THIRTEEN],
    ),
    (MissingKey, 400, &[CLOSE], 400, &[]),
    (DuplicateKey, 400, &[CLOSE], 400, &[]),
    (InvalidKey, 400, &[CLOSE], 400, &[]),
    (OriginRefused, 403, &[CLOSE], 403, &[]),
    (MalformedSubprotocols, 400, &[CLOSE], 400, &[]),
    (NoCommonSubprotocol, 400, &[CLOSE], 400, &[]),
    (MalformedExtensions, 400, &[CLOSE], 400, &[]),
    (NotReady, 503, &[CLOSE, RETRY], 503, &[RETRY]),
    (
        Draining {
            retry_after: Duration::from_millis(59_999),
        },
        503,
        &[CLOSE, "retry-after: 60"],
        503,
        &["retry-after: 60"],
    ),
    (OverBudget, 503, &[CLOSE, RETRY], 503, &[RETRY]),
    (TooManyOpen, 429, &[CLOSE, RETRY], 429, &[RETRY]),
    (
        TooManyNew {
            retry_after: Duration::from_millis(41_001),
        },
        429,
        &[CLOSE, "retry-after: 42"],
        429,
        &["retry-after: 42"],
    ),
    (NotUpgradable, 500, &[CLOSE], 500, &[]),
];

fn headers(response: &Response<Bytes>) -> Vec<String> {
    let spell = |(name, value): (_, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let mut headers: Vec<String> = response.headers().iter().map(spell).collect();
    headers.sort();
    headers
}

#[track_caller]
fn check(rejection: &Rejection, version: Version, status: u16, further: &[&str]) {
    let response = rejection.response(version);
    let mut expected = [&[PLAIN], further].concat();
    expected.sort_unstable();
    assert_eq!(response.status().as_u16(), status, "{rejection:?}");
    assert_eq!(rejection.status(version), response.status());
    assert_eq!(headers(&response), expected, "{rejection:?}");
    assert_eq!(*response.body(), rejection.to_string());
    assert_eq!(response.extensions().get(), Some(rejection));
}

#[test]
fn each_reason_has_its_answer_on_http_1() {
    for (rejection, status, further, ..) in TABLE {
        check(&rejection, Version::HTTP_11, status, further);
        check(&rejection, Version::HTTP_10, status, further);
    }
}

#[test]
fn each_reason_has_its_answer_on_http_2_without_connection_headers() {
    for (rejection, _, _, status, further) in TABLE {
        check(&rejection, Version::HTTP_2, status, further);
        check(&rejection, Version::HTTP_3, status, further);
    }
}

#[test]
fn every_503_and_429_says_when_to_come_back() {
    for (rejection, ..) in TABLE {
        let status = rejection.status(Version::HTTP_11).as_u16();
        let busy = matches!(status, 429 | 503);
        assert_eq!(rejection.retry_after().is_some(), busy, "{rejection:?}");
    }
}

#[test]
fn each_reason_is_told_in_words_of_its_own() {
    let texts: Vec<String> = TABLE
        .iter()
        .map(|(rejection, ..)| rejection.to_string())
        .collect();
    for (index, text) in texts.iter().enumerate() {
        assert!(!text.is_empty() && !text.ends_with(['.', '\n']));
        assert!(!texts[..index].contains(text), "{text:?} twice");
    }
}

/// The others are what a client has done, or pass by themselves.
#[test]
fn what_the_setup_of_a_server_causes_names_its_page() {
    let setup = [OriginRefused, NotUpgradable];
    for (rejection, status, ..) in TABLE {
        let text = rejection.to_string();
        let page = format!(": see `troubleshooting#{status}` of tower-websocket");
        assert_eq!(text.ends_with(&page), setup.contains(&rejection), "{text}");
        assert_eq!(text.contains('`'), setup.contains(&rejection), "{text}");
    }
}

#[test]
fn refused_origin_names_the_settings() {
    let text = OriginRefused.to_string();
    for name in [
        "Config::origin",
        "OriginPolicy::SameHost",
        "OriginPolicy::list",
        "Host",
    ] {
        assert!(text.contains(name), "{name}");
    }
}

#[test]
fn missing_upgrade_names_the_way_to_test() {
    let text = NotUpgradable.to_string();
    for name in [
        "OnUpgrade",
        "testing::connect",
        "testing::upgradable(request)",
    ] {
        assert!(text.contains(name), "{name}");
    }
}

#[test]
fn malformed_list_of_extensions_is_a_reason() {
    assert_eq!(Rejection::from(Malformed), MalformedExtensions);
}
