use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::{compression::Compression, handshake::OriginPolicy, memory::MemoryBudget};

fn read(document: Value) -> Config {
    serde_json::from_value(document).unwrap()
}

fn error(document: Value) -> String {
    let read = serde_json::from_value::<Config>(document);
    read.unwrap_err().to_string()
}

fn write(config: &Config) -> Value {
    serde_json::to_value(config).unwrap()
}

/// What two configurations are compared by.
fn told(config: &Config) -> String {
    format!("{:?}", config.settings())
}

/// Each field with a value that is not its default, and the setter that it stands for.
fn each() -> Vec<(&'static str, Value, Config)> {
    let config = Config::default;
    let ms = Duration::from_millis;
    vec![
        (
            "max_message_size_bytes",
            json!(7),
            config().max_message_size(7),
        ),
        ("max_frame_size_bytes", json!(7), config().max_frame_size(7)),
        ("max_fragments", json!(7), config().max_fragments(7)),
        ("streaming", json!(true), config().streaming(true)),
        (
            "max_stream_size_bytes",
            json!(1u64 << 40),
            config().max_stream_size(1 << 40),
        ),
        ("max_read_ahead_bytes", json!(7), config().max_read_ahead(7)),
        (
            "memory_budget_bytes",
            json!(1 << 30),
            config().memory_budget(&MemoryBudget::new(1 << 30)),
        ),
        ("max_send_queue_bytes", json!(7), config().max_send_queue(7)),
        ("max_send_messages", json!(7), config().max_send_messages(7)),
        ("fragment_size_bytes", json!(7), config().fragment_size(7)),
        ("auto_pong", json!(false), config().auto_pong(false)),
        (
            "control_frame_rate_per_second",
            json!(7),
            config().control_frame_rate(7),
        ),
        (
            "control_frame_burst",
            json!(7),
            config().control_frame_burst(7),
        ),
        (
            "message_rate_per_second",
            json!(7),
            config().message_rate(7),
        ),
        ("message_burst", json!(7), config().message_burst(7)),
        ("byte_rate_per_second", json!(7), config().byte_rate(7)),
        ("byte_burst_bytes", json!(7), config().byte_burst(7)),
        (
            "close_over_rate",
            json!(true),
            config().close_over_rate(true),
        ),
        (
            "ping_interval_ms",
            json!(70),
            config().ping_interval(ms(70)),
        ),
        ("ping_timeout_ms", json!(70), config().ping_timeout(ms(70))),
        (
            "frame_timeout_ms",
            json!(70),
            config().frame_timeout(ms(70)),
        ),
        ("ready_timeout_ms", json!(7), config().ready_timeout(ms(7))),
        (
            "write_timeout_ms",
            json!(70),
            config().write_timeout(ms(70)),
        ),
        ("close_timeout_ms", json!(7), config().close_timeout(ms(7))),
        ("linger_ms", json!(7), config().linger(ms(7))),
        ("idle_timeout_ms", json!(7), config().idle_timeout(ms(7))),
        ("max_lifetime_ms", json!(7), config().max_lifetime(ms(7))),
        (
            "first_message_timeout_ms",
            json!(7),
            config().first_message_timeout(ms(7)),
        ),
        (
            "subprotocols",
            json!(["b", "a"]),
            config().subprotocols(["b", "a"]),
        ),
        (
            "require_subprotocol",
            json!(true),
            config().require_subprotocol(true),
        ),
        (
            "origin",
            json!(["https://example.com:8443"]),
            config().origin(OriginPolicy::list(["https://example.com:8443"])),
        ),
    ]
}

#[test]
fn each_field_is_written_and_read_as_its_setter() {
    let defaults = write(&Config::default());
    let mut names = BTreeSet::from(["compression".to_owned()]);
    for (name, value, set) in each() {
        let document = json!({ name: value });
        assert_eq!(told(&read(document)), told(&set), "{name}");
        let mut expected = defaults.clone();
        expected[name] = value;
        assert_eq!(write(&set), expected, "{name}");
        assert_ne!(expected, defaults, "{name}");
        names.insert(name.to_owned());
    }
    let written: BTreeSet<_> = defaults.as_object().unwrap().keys().cloned().collect();
    assert_eq!(written, names);
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = read(json!({}));
    assert_eq!(told(&config), told(&Config::default()));
    assert!(
        config
            .settings()
            .memory_budget
            .is_same(&MemoryBudget::default())
    );
    assert_eq!(told(&read(write(&config))), told(&config));
    let document = write(&config);
    assert_eq!(document["memory_budget_bytes"], json!("process"));
    assert_eq!(document["origin"], json!("same-host"));
    assert_eq!(document["compression"], json!("none"));
    assert_eq!(document["max_frame_size_bytes"], json!("none"));
}

/// Fields of which the setter takes `None`.
const OPTIONAL: [&str; 18] = [
    "message_rate_per_second",
    "message_burst",
    "byte_rate_per_second",
    "byte_burst_bytes",
    "max_message_size_bytes",
    "max_frame_size_bytes",
    "max_fragments",
    "max_stream_size_bytes",
    "memory_budget_bytes",
    "max_send_messages",
    "fragment_size_bytes",
    "control_frame_rate_per_second",
    "ping_interval_ms",
    "ping_timeout_ms",
    "frame_timeout_ms",
    "write_timeout_ms",
    "idle_timeout_ms",
    "max_lifetime_ms",
];

#[test]
fn no_limit_is_a_word_or_a_null_and_is_written_as_a_word() {
    for name in OPTIONAL {
        let word = read(json!({ name: "none" }));
        assert_eq!(told(&word), told(&read(json!({ name: null }))), "{name}");
        assert_eq!(write(&word)[name], json!("none"), "{name}");
        assert_eq!(told(&read(write(&word))), told(&word), "{name}");
    }
    assert_eq!(
        read(json!({"memory_budget_bytes": "none"}))
            .settings()
            .memory_budget
            .limit(),
        None
    );
    let open = read(json!({"origin": "any"}));
    assert!(matches!(open.settings().origin, OriginPolicy::Any));
}

#[test]
fn values_that_a_setter_replaces_are_replaced() {
    let config = read(json!({"ping_interval_ms": 0, "max_fragments": 0}));
    let settings = config.settings();
    assert_eq!(settings.ping_interval, Some(Duration::from_millis(20)));
    assert_eq!(settings.max_fragments, Some(1));
}

#[test]
fn durations_are_rounded_up_and_stay_in_their_range() {
    let config = Config::default()
        .linger(Duration::from_nanos(1))
        .close_timeout(Duration::MAX);
    let document = write(&config);
    assert_eq!(document["linger_ms"], json!(1));
    assert_eq!(document["close_timeout_ms"], json!(i64::MAX));
    read(document);
}

#[test]
fn what_is_wrong_is_told() {
    for (document, expected) in [
        (
            json!({"max_message_size": 1}),
            "unknown field `max_message_size`, expected one of",
        ),
        (
            json!({"max_message_size_bytes": -1}),
            "invalid value: integer `-1`, expected a whole number or `none`",
        ),
        (
            json!({"max_message_size_bytes": 1.5}),
            "invalid type: floating point `1.5`, expected a whole",
        ),
        (
            json!({"max_message_size_bytes": "1 MiB"}),
            "invalid value: string \"1 MiB\", expected a whole",
        ),
        (
            json!({"memory_budget_bytes": "mine"}),
            "expected a whole number or `none` or `process`",
        ),
        (
            json!({"control_frame_rate_per_second": 1u64 << 32}),
            "expected a number of at most 4 bytes",
        ),
        (
            json!({"linger_ms": "none"}),
            "invalid type: string \"none\", expected u64",
        ),
        (
            json!({"streaming": 1}),
            "invalid type: integer `1`, expected a boolean",
        ),
        (
            json!({"subprotocols": ["chat", "a b"]}),
            "subprotocols: \"a b\" is not a token",
        ),
        (
            json!({"origin": "everybody"}),
            "expected `same-host`, `same-host-or-localhost`, `any`, a list of origins, or a map with `same_host_or`",
        ),
        (json!({"origin": ["*"]}), "origin: \"*\" allows no page"),
        (
            json!({"origin": {"same_host_or": [""]}}),
            "origin: \"\" allows no page",
        ),
        (json!({"origin": {}}), "missing field `same_host_or`"),
        (json!({"origin": {"list": []}}), "unknown field `list`"),
        (
            json!({"compression": "fast"}),
            "expected `none`, `shared`, `dedicated`, or a map",
        ),
        (json!({"compression": {}}), "missing field `mode`"),
        (
            json!({"compression": {"mode": "shared", "threshold": 1}}),
            "unknown field `threshold`",
        ),
        (json!([]), "expected the settings of a WebSocket endpoint"),
    ] {
        let error = error(document.clone());
        assert!(error.contains(expected), "{document}: {error}");
    }
}

#[test]
fn each_policy_of_origins_is_written_as_it_is_read() {
    let list = ["https://a.example/", "file://"];
    let spelled = json!(["https://a.example/", "https://a.example:443", "file://"]);
    let table = [
        (
            OriginPolicy::SameHostOrLocalhost,
            json!("same-host-or-localhost"),
        ),
        (
            OriginPolicy::same_host_or(list),
            json!({"same_host_or": spelled}),
        ),
        (OriginPolicy::list(list), spelled),
    ];
    for (policy, document) in table {
        let config = Config::default().origin(policy);
        assert_eq!(write(&config)["origin"], document);
        assert_eq!(told(&read(json!({"origin": document}))), told(&config));
    }
}

#[test]
fn policy_that_is_a_function_is_not_written_as_another_one() {
    let config = Config::default().origin(OriginPolicy::predicate(|_, _| true));
    let error = serde_json::to_string(&config).unwrap_err().to_string();
    assert_eq!(
        error,
        "an origin policy that is a function cannot be written"
    );
}

#[test]
fn budget_of_a_document_is_its_own() {
    let document = json!({"memory_budget_bytes": 1000});
    let (one, other) = (read(document.clone()), read(document));
    let budget = |config: &Config| config.settings().memory_budget.clone();
    assert!(!budget(&one).is_same(&budget(&other)));
    assert!(budget(&one).is_same(&budget(&one.clone())));
    assert_eq!(budget(&one).limit(), Some(1000));
}

#[cfg(feature = "deflate")]
#[test]
fn compression_is_written_and_read() {
    let short = |mode| Config::default().compression(mode);
    for (name, mode) in [
        ("shared", Compression::shared()),
        ("dedicated", Compression::dedicated()),
    ] {
        let set = short(mode);
        assert_eq!(told(&read(json!({"compression": name}))), told(&set));
        assert_eq!(
            told(&read(json!({"compression": {"mode": name}}))),
            told(&set)
        );
        assert_eq!(told(&read(write(&set))), told(&set));
    }
    let set = Compression::dedicated()
        .level(9)
        .memory_level(2)
        .max_window_bits(9)
        .peer_max_window_bits(10)
        .threshold(7)
        .max_memory(1000);
    let document = json!({
        "mode": "dedicated", "level": 9, "memory_level": 2, "max_window_bits": 9, "peer_max_window_bits": 10,
        "threshold_bytes": 7, "max_memory_bytes": 1000,
    });
    assert_eq!(write(&short(set))["compression"], document);
    let config = read(json!({"compression": document}));
    assert_eq!(write(&config)["compression"], document);
    let unlimited = json!({"compression": {"mode": "dedicated", "max_memory_bytes": null}});
    let settings = read(unlimited).settings().compression.unwrap();
    assert_eq!(settings.max_memory, None);
}

#[cfg(feature = "deflate")]
#[test]
fn compression_that_there_is_not_is_told() {
    for (field, value, allowed) in [
        ("level", 0, "1 to 9"),
        ("level", 10, "1 to 9"),
        ("memory_level", 10, "1 to 9"),
        ("max_window_bits", 8, "9 to 15"),
        ("peer_max_window_bits", 16, "9 to 15"),
    ] {
        let error = error(json!({"compression": {"mode": "shared", field: value}}));
        assert_eq!(
            error,
            format!("compression: {field} is {value}, and has to be {allowed}")
        );
    }
    let null = error(json!({"compression": {"mode": "shared", "level": null}}));
    assert!(null.starts_with("invalid type: null"), "{null}");
}

#[cfg(not(feature = "deflate"))]
#[test]
fn compression_needs_its_feature() {
    let error = error(json!({"compression": "shared"}));
    assert!(error.contains("feature `deflate`"), "{error}");
    read(json!({"compression": "none"}));
}

/// "Never" and "without end" are said by the largest number that there is, and TOML has no larger one than this.
#[test]
fn numbers_are_no_larger_than_every_format_has_them() {
    let huge = Config::default()
        .max_message_size(usize::MAX)
        .max_frame_size(usize::MAX)
        .max_fragments(usize::MAX)
        .max_stream_size(u64::MAX)
        .max_read_ahead(usize::MAX)
        .max_send_queue(usize::MAX)
        .max_send_messages(usize::MAX)
        .fragment_size(usize::MAX)
        .byte_rate(u64::MAX)
        .byte_burst(u64::MAX)
        .ping_interval(Duration::MAX)
        .ready_timeout(Duration::MAX)
        .close_timeout(Duration::MAX);
    let written = write(&huge);
    let numbers: Vec<_> = written
        .as_object()
        .unwrap()
        .values()
        .filter(|value| value.is_u64())
        .collect();
    assert!(
        numbers.iter().all(|number| number.as_i64().is_some()),
        "{written}"
    );
    let largest = json!(i64::MAX);
    assert_eq!(
        numbers.iter().filter(|number| ***number == largest).count(),
        13
    );
    // It is read again, and means the same.
    read(written);
}

#[cfg(feature = "deflate")]
#[test]
fn threshold_of_compression_is_no_larger_either() {
    let never = Compression::shared().threshold(usize::MAX);
    let written = write(&Config::default().compression(never));
    assert_eq!(written["compression"]["threshold_bytes"], json!(i64::MAX));
}
