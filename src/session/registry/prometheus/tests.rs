use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Counters with something in everything.
fn busy() -> Counters {
    Counters {
        open: 3,
        accepted: 12,
        failed_upgrades: 1,
        rejected: BTreeMap::from([("Hook", 4), ("Origin", 5)]),
        closed: BTreeMap::from([(1000, 6), (1006, 2), (3000, 1), (4999, 2)]),
        messages_received: 7,
        bytes_received: u64::MAX,
        messages_sent: 8,
        bytes_sent: 9,
        queue_full: 10,
        rtt: RttHistogram::default(),
    }
}

/// Reads the text as Prometheus does: each sample by its name with its labels.
///
/// The rules are those of <https://prometheus.io/docs/instrumenting/exposition_formats/>: a name is explained and typed
/// once, before its samples, which are together; no sample comes twice; every line ends with a line feed.
fn read(text: &str) -> BTreeMap<String, f64> {
    let (mut families, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let (mut explained, mut family) = (BTreeSet::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(
                !help.is_empty() && explained.insert(name.to_owned()),
                "{line}"
            );
            family = name.to_owned();
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, family, "it follows the help");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(families.insert(name.to_owned(), kind.to_owned()).is_none());
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let name = sample.split('{').next().unwrap();
        let valid = |char: char| char.is_ascii_alphanumeric() || char == '_';
        assert!(name.chars().all(valid), "{line}");
        let suffix = name.strip_prefix(&family).expect("it is of this family");
        let suffixes: &[&str] = match &*families[&family] {
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        let value = value.parse().unwrap();
        assert!(samples.insert(sample.to_owned(), value).is_none(), "{line}");
    }
    assert_eq!(families.len(), 9);
    samples
}

#[test]
fn every_number_is_in_a_text_that_prometheus_reads() {
    let samples = read(&busy().to_prometheus());
    for (sample, value) in [
        ("connections_open", 3.0),
        ("accepted_total", 12.0),
        ("failed_upgrades_total", 1.0),
        (r#"rejected_total{reason="Hook"}"#, 4.0),
        (r#"rejected_total{reason="Origin"}"#, 5.0),
        (r#"closed_total{code="1000"}"#, 6.0),
        (r#"closed_total{code="1006"}"#, 2.0),
        (r#"closed_total{code="3000-4999"}"#, 3.0),
        (r#"messages_total{direction="in"}"#, 7.0),
        (r#"messages_total{direction="out"}"#, 8.0),
        (r#"bytes_total{direction="in"}"#, u64::MAX as f64),
        (r#"bytes_total{direction="out"}"#, 9.0),
        ("queue_full_total", 10.0),
        ("rtt_seconds_count", 0.0),
    ] {
        assert_eq!(samples[&format!("websocket_{sample}")], value, "{sample}");
    }
    // Beside them sixteen buckets and a sum.
    assert_eq!(samples.len(), 14 + 17);
}

#[test]
fn buckets_have_growing_bounds_in_seconds_and_the_last_has_all() {
    let text = Counters::default().to_prometheus();
    let bounds = text.lines().filter_map(|line| {
        let bound = line.strip_prefix(r#"websocket_rtt_seconds_bucket{le=""#)?;
        Some(bound.split_once('"').unwrap().0)
    });
    let bounds: Vec<_> = bounds.collect();
    assert_eq!(
        (bounds[0], bounds[14], bounds[15]),
        ("0.00025", "10", "+Inf")
    );
    let seconds: Vec<f64> = bounds.iter().map(|bound| bound.parse().unwrap()).collect();
    assert!(seconds.is_sorted());
}

/// A server has these from its first second on: what is missing cannot be told from what was never asked for.
#[test]
fn what_has_not_happened_is_zero() {
    let samples = read(&Counters::default().to_prometheus());
    assert!(samples.values().all(|value| *value == 0.0));
    assert_eq!(samples.len(), 14 - 4 + 17);
}

#[test]
fn layers_have_their_names_and_are_together() {
    let layers = [
        ("news", Counters::default()),
        ("chat", busy()),
        ("news", busy()),
    ];
    let samples = read(&Counters::layers_to_prometheus(layers));
    assert_eq!(samples[r#"websocket_accepted_total{layer="chat"}"#], 12.0);
    assert_eq!(samples[r#"websocket_accepted_total{layer="news"}"#], 12.0);
    assert_eq!(
        samples[r#"websocket_closed_total{layer="chat",code="1000"}"#],
        6.0
    );
    assert_eq!(
        samples[r#"websocket_rtt_seconds_bucket{layer="chat",le="+Inf"}"#],
        0.0
    );
    assert_eq!(samples.len(), 2 * (14 + 17));
}

#[test]
fn names_of_layers_are_escaped() {
    let text = Counters::layers_to_prometheus([("a\"b\\c\nd".to_owned(), busy())]);
    read(&text);
    assert!(text.contains(r#"websocket_accepted_total{layer="a\"b\\c\nd"} 12"#));
}

#[test]
fn no_layers_are_no_samples() {
    let text = Counters::layers_to_prometheus::<'static>(Vec::<(&str, _)>::new());
    assert!(read(&text).is_empty());
}
