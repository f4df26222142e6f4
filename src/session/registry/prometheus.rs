//! The counters as Prometheus reads them.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use super::{counters::Counters, round_trips::RttHistogram};

impl Counters {
    /// Returns the counters in the text format of Prometheus, version 0.0.4.
    ///
    /// OpenTelemetry's collector, VictoriaMetrics and others read it as well. It is the response to `GET /metrics`, with the
    /// content type `text/plain; version=0.0.4`.
    ///
    /// | metric | type | label |
    /// | --- | --- | --- |
    /// | `websocket_connections_open` | gauge | |
    /// | `websocket_accepted_total` | counter | |
    /// | `websocket_failed_upgrades_total` | counter | |
    /// | `websocket_rejected_total` | counter | `reason`: as in [`rejected`](Self::rejected) |
    /// | `websocket_closed_total` | counter | `code`: 1000 to 2999, and all beyond as `3000-4999` |
    /// | `websocket_messages_total`, `websocket_bytes_total` | counter | `direction`: `in`, `out` |
    /// | `websocket_queue_full_total` | counter | |
    /// | `websocket_rtt_seconds` | histogram | `le` |
    ///
    /// Peers choose among 2,000 close codes from 3000 on, which would be too many labels. The text ends with a
    /// line feed, so that metrics of the application may follow.
    ///
    /// ```
    /// use axum::{Router, http::header::CONTENT_TYPE, routing::get};
    /// use tower_websocket::Connections;
    ///
    /// let connections = Connections::new(); // also that of the layer
    /// let metrics = async move || {
    ///     let text = connections.counters().to_prometheus();
    ///     ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text)
    /// };
    /// let app: Router = Router::new().route("/metrics", get(metrics));
    /// ```
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let sets = [(Labels(None), self)];
        Exposition { sets: &sets }.to_string()
    }

    /// Returns the counters of several layers, as [`to_prometheus`](Self::to_prometheus), with a label `layer`.
    ///
    /// The label is the name of each layer. If two have the same name, the later one counts.
    ///
    /// ```
    /// use tower_websocket::{Connections, session::Counters};
    ///
    /// let (chat, news) = (Connections::new(), Connections::new());
    /// let text = Counters::layers_to_prometheus([("chat", chat.counters()), ("news", news.counters())]);
    /// assert!(text.contains(r#"websocket_connections_open{layer="news"} 0"#));
    /// ```
    #[must_use]
    pub fn layers_to_prometheus<'a>(
        layers: impl IntoIterator<Item = (impl Into<Cow<'a, str>>, Self)>,
    ) -> String {
        let named = layers.into_iter().map(|(name, one)| (name.into(), one));
        let layers: BTreeMap<Cow<'a, str>, Self> = named.collect();
        let sets = layers.iter().map(|(name, one)| (Labels(Some(name)), one));
        let sets: Vec<_> = sets.collect();
        Exposition { sets: &sets }.to_string()
    }
}

/// The counters of layers: the samples of one name have to be together.
struct Exposition<'a> {
    sets: &'a [(Labels<'a>, &'a Counters)],
}

impl Display for Exposition<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let simple: [(_, _, _, Count); 4] = [
            (
                "connections_open",
                GAUGE,
                "Connections that are open.",
                |one| one.open as u64,
            ),
            (
                "accepted_total",
                COUNTER,
                "Handshakes that were accepted.",
                |one| one.accepted,
            ),
            (
                "failed_upgrades_total",
                COUNTER,
                "Accepted, and never handed over.",
                |one| one.failed_upgrades,
            ),
            (
                "queue_full_total",
                COUNTER,
                "Messages that found a full queue.",
                |one| one.queue_full,
            ),
        ];
        for (name, kind, help, value) in simple {
            family(f, name, kind, help)?;
            for (labels, counters) in self.sets {
                sample(f, name, labels.nothing(), value(counters))?;
            }
        }
        self.handshakes_and_ends(f)?;
        self.traffic(f)?;
        family(f, "rtt_seconds", "histogram", "From pings to their pongs.")?;
        for (labels, counters) in self.sets {
            histogram(f, "rtt_seconds", *labels, &counters.rtt)?;
        }
        Ok(())
    }
}

impl Exposition<'_> {
    fn handshakes_and_ends(&self, f: &mut Formatter<'_>) -> fmt::Result {
        family(
            f,
            "rejected_total",
            COUNTER,
            "Handshakes that were rejected.",
        )?;
        for (labels, counters) in self.sets {
            for (reason, count) in &counters.rejected {
                sample(f, "rejected_total", labels.and("reason", reason), count)?;
            }
        }
        family(
            f,
            "closed_total",
            COUNTER,
            "Connections that ended, by close code.",
        )?;
        for (labels, counters) in self.sets {
            for (code, count) in counters.closed.range(..FIRST_OPEN) {
                sample(f, "closed_total", labels.and("code", code), count)?;
            }
            let open: u64 = counters
                .closed
                .range(FIRST_OPEN..)
                .map(|(_, count)| count)
                .sum();
            sample(f, "closed_total", labels.and("code", &"3000-4999"), open)?;
        }
        Ok(())
    }

    fn traffic(&self, f: &mut Formatter<'_>) -> fmt::Result {
        family(f, "messages_total", COUNTER, "Messages received and sent.")?;
        for (labels, counters) in self.sets {
            let directions = [
                ("in", counters.messages_received),
                ("out", counters.messages_sent),
            ];
            for (direction, count) in directions {
                sample(
                    f,
                    "messages_total",
                    labels.and("direction", &direction),
                    count,
                )?;
            }
        }
        let help = "Bytes: in as they came, out before compression.";
        family(f, "bytes_total", COUNTER, help)?;
        for (labels, counters) in self.sets {
            let directions = [
                ("in", counters.bytes_received),
                ("out", counters.bytes_sent),
            ];
            for (direction, count) in directions {
                sample(f, "bytes_total", labels.and("direction", &direction), count)?;
            }
        }
        Ok(())
    }
}

/// Begins the samples of one name.
fn family(f: &mut Formatter<'_>, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(f, "# HELP websocket_{name} {help}")?;
    writeln!(f, "# TYPE websocket_{name} {kind}")
}

fn sample(
    f: &mut Formatter<'_>,
    name: &str,
    labels: impl Display,
    value: impl Display,
) -> fmt::Result {
    writeln!(f, "websocket_{name}{labels} {value}")
}

fn histogram(
    f: &mut Formatter<'_>,
    name: &str,
    labels: Labels<'_>,
    times: &RttHistogram,
) -> fmt::Result {
    for (bound, count) in times.buckets() {
        let bound = bound.map(|bound| bound.as_secs_f64().to_string());
        let bound = bound.as_deref().unwrap_or("+Inf");
        writeln!(
            f,
            "websocket_{name}_bucket{} {count}",
            labels.and("le", &bound)
        )?;
    }
    let (sum, nothing) = (times.sum().as_secs_f64(), labels.nothing());
    writeln!(f, "websocket_{name}_sum{nothing} {sum}")?;
    writeln!(f, "websocket_{name}_count{nothing} {}", times.count())
}

/// The label that all samples of a layer have, if there is one.
#[derive(Clone, Copy)]
struct Labels<'a>(Option<&'a str>);

impl<'a> Labels<'a> {
    fn nothing(self) -> Labelled<'a> {
        Labelled {
            layer: self.0,
            own: None,
        }
    }

    /// With a label of the sample's own, whose value needs no escaping.
    fn and(self, name: &'static str, value: &'a dyn Display) -> Labelled<'a> {
        Labelled {
            layer: self.0,
            own: Some((name, value)),
        }
    }
}

#[derive(Clone, Copy)]
struct Labelled<'a> {
    layer: Option<&'a str>,
    own: Option<(&'static str, &'a dyn Display)>,
}

impl Display for Labelled<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.layer, self.own) {
            (None, None) => Ok(()),
            (None, Some((name, value))) => write!(f, "{{{name}=\"{value}\"}}"),
            (Some(layer), None) => write!(f, "{{layer=\"{}\"}}", escaped(layer)),
            (Some(layer), Some((name, value))) => {
                write!(f, "{{layer=\"{}\",{name}=\"{value}\"}}", escaped(layer))
            }
        }
    }
}

/// Escapes what may not stand in a value as it is.
fn escaped(value: &str) -> String {
    let value = value.replace('\\', r"\\");
    value.replace('"', r#"\""#).replace('\n', r"\n")
}

/// What is read off the counters.
type Count = fn(&Counters) -> u64;

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

/// From here on peers choose the codes (RFC 6455 §7.4.2).
const FIRST_OPEN: u16 = 3000;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
