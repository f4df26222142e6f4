//! `Config` as a part of an application's own configuration (feature `serde`).

mod compression;
mod mode;
#[cfg(feature = "deflate")]
mod modes;
#[cfg(not(feature = "deflate"))]
mod modes_off;
mod numbers;
mod origin;

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

#[cfg(feature = "deflate")]
use self::modes::make;
#[cfg(not(feature = "deflate"))]
use self::modes_off::make;
use self::{
    compression::CompressionDocument,
    numbers::{BudgetDocument, Limit, Millis},
    origin::OriginDocument,
};
use super::{Config, settings::Settings};
use crate::handshake::is_token;

/// What is read and written: see the implementation of `Deserialize`.
#[derive(Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Document {
    max_message_size_bytes: Limit<usize>,
    max_frame_size_bytes: Limit<usize>,
    max_fragments: Limit<usize>,
    streaming: bool,
    max_stream_size_bytes: Limit<u64>,
    #[serde(serialize_with = "numbers::signed")]
    max_read_ahead_bytes: usize,
    memory_budget_bytes: BudgetDocument,
    #[serde(serialize_with = "numbers::signed")]
    max_send_queue_bytes: usize,
    max_send_messages: Limit<usize>,
    fragment_size_bytes: Limit<usize>,
    compression: CompressionDocument,
    auto_pong: bool,
    control_frame_rate_per_second: Limit<u32>,
    control_frame_burst: u32,
    message_rate_per_second: Limit<u32>,
    message_burst: Limit<u32>,
    byte_rate_per_second: Limit<u64>,
    byte_burst_bytes: Limit<u64>,
    close_over_rate: bool,
    ping_interval_ms: Limit<Millis>,
    ping_timeout_ms: Limit<Millis>,
    frame_timeout_ms: Limit<Millis>,
    ready_timeout_ms: Millis,
    write_timeout_ms: Limit<Millis>,
    close_timeout_ms: Millis,
    linger_ms: Millis,
    idle_timeout_ms: Limit<Millis>,
    max_lifetime_ms: Limit<Millis>,
    first_message_timeout_ms: Limit<Millis>,
    subprotocols: Vec<Box<str>>,
    require_subprotocol: bool,
    origin: OriginDocument,
}

impl Default for Document {
    fn default() -> Self {
        Self::new(Config::default().settings())
    }
}

impl Document {
    fn new(settings: Settings<'_>) -> Self {
        // Every field is named: one that cannot be written does not compile.
        let Settings {
            max_message_size,
            max_frame_size,
            max_fragments,
            streaming,
            max_stream_size,
            max_read_ahead,
            memory_budget,
            max_send_queue,
            max_send_messages,
            fragment_size,
            compression,
            auto_pong,
            control_frame_rate,
            control_frame_burst,
            message_rate,
            message_burst,
            byte_rate,
            byte_burst,
            close_over_rate,
            ping_interval,
            ping_timeout,
            frame_timeout,
            ready_timeout,
            write_timeout,
            close_timeout,
            linger,
            idle_timeout,
            max_lifetime,
            first_message_timeout,
            subprotocols,
            require_subprotocol,
            origin,
        } = settings;
        Self {
            max_message_size_bytes: Limit(max_message_size),
            max_frame_size_bytes: Limit(max_frame_size),
            max_fragments: Limit(max_fragments),
            streaming,
            max_stream_size_bytes: Limit(max_stream_size),
            max_read_ahead_bytes: max_read_ahead,
            memory_budget_bytes: memory_budget.into(),
            max_send_queue_bytes: max_send_queue,
            max_send_messages: Limit(max_send_messages),
            fragment_size_bytes: Limit(fragment_size),
            compression: compression.into(),
            auto_pong,
            control_frame_rate_per_second: Limit(control_frame_rate),
            control_frame_burst,
            message_rate_per_second: Limit(message_rate),
            message_burst: Limit(message_burst),
            byte_rate_per_second: Limit(byte_rate),
            byte_burst_bytes: Limit(byte_burst),
            close_over_rate,
            ping_interval_ms: ping_interval.into(),
            ping_timeout_ms: ping_timeout.into(),
            frame_timeout_ms: frame_timeout.into(),
            ready_timeout_ms: ready_timeout.into(),
            write_timeout_ms: write_timeout.into(),
            close_timeout_ms: close_timeout.into(),
            linger_ms: linger.into(),
            idle_timeout_ms: idle_timeout.into(),
            max_lifetime_ms: max_lifetime.into(),
            first_message_timeout_ms: first_message_timeout.into(),
            subprotocols: subprotocols.to_vec(),
            require_subprotocol,
            origin: origin.into(),
        }
    }

    /// Sets what was read, by the setters: they have the bounds.
    fn into_config(self) -> Result<Config, String> {
        let mut names = self.subprotocols.iter();
        if let Some(name) = names.find(|name| !is_token(name.as_bytes())) {
            return Err(format!(
                "subprotocols: {name:?} is not a token (RFC 9110 §5.6.2)"
            ));
        }
        let config = Config::default()
            .max_message_size(self.max_message_size_bytes.0)
            .max_frame_size(self.max_frame_size_bytes.0)
            .max_fragments(self.max_fragments.0)
            .streaming(self.streaming)
            .max_stream_size(self.max_stream_size_bytes.0)
            .max_read_ahead(self.max_read_ahead_bytes)
            .memory_budget(&self.memory_budget_bytes.into_budget())
            .max_send_queue(self.max_send_queue_bytes)
            .max_send_messages(self.max_send_messages.0)
            .fragment_size(self.fragment_size_bytes.0)
            .compression(self.compression.into_compression()?)
            .auto_pong(self.auto_pong)
            .control_frame_rate(self.control_frame_rate_per_second.0)
            .control_frame_burst(self.control_frame_burst)
            .message_rate(self.message_rate_per_second.0)
            .message_burst(self.message_burst.0)
            .byte_rate(self.byte_rate_per_second.0)
            .byte_burst(self.byte_burst_bytes.0)
            .close_over_rate(self.close_over_rate)
            .ping_interval(self.ping_interval_ms)
            .ping_timeout(self.ping_timeout_ms)
            .frame_timeout(self.frame_timeout_ms)
            .ready_timeout(self.ready_timeout_ms.into())
            .write_timeout(self.write_timeout_ms)
            .close_timeout(self.close_timeout_ms.into())
            .linger(self.linger_ms.into())
            .idle_timeout(self.idle_timeout_ms)
            .max_lifetime(self.max_lifetime_ms)
            .first_message_timeout(self.first_message_timeout_ms)
            .subprotocols(self.subprotocols)
            .require_subprotocol(self.require_subprotocol);
        Ok(config.origin(self.origin.into_policy()?))
    }
}

/// Writes every setting (feature `serde`), as [`Deserialize`](#impl-Deserialize<'de>-for-Config) reads it.
///
/// An origin policy that is a function cannot be written: that is an error. A
/// [`MemoryBudget`](crate::MemoryBudget) is written with its limit, and that of the process as `process`. Reading a
/// limit makes another budget, which counts by itself.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Document::new(self.settings()).serialize(serializer)
    }
}

/// Reads settings (feature `serde`) from a format that describes itself, such as JSON, TOML or YAML.
///
/// ```
/// use std::time::Duration;
/// use tower_websocket::Config;
///
/// # fn main() -> Result<(), serde_json::Error> {
/// let config: Config = serde_json::from_str(
///     r#"{
///         "max_message_size_bytes": 65536,
///         "ping_interval_ms": 30000,
///         "ping_timeout_ms": "none",
///         "subprotocols": ["chat.v2", "chat.v1"],
///         "origin": ["https://example.com"]
///     }"#,
/// )?;
/// assert_eq!(config.settings().ping_interval, Some(Duration::from_secs(30)));
/// # Ok(())
/// # }
/// ```
///
/// A field has the name of its setter and its unit: `_bytes`, `_ms` for milliseconds, `_per_second`. When written,
/// durations are rounded up to the next millisecond. A number above 2⁶³ − 1, such as `usize::MAX`, is
/// written as 2⁶³ − 1, since formats such as TOML have no larger one.
///
/// - **Bytes**: `max_message_size_bytes`, `max_frame_size_bytes`, `max_stream_size_bytes`, `max_read_ahead_bytes`,
///   `memory_budget_bytes`, `max_send_queue_bytes`, `fragment_size_bytes`, `byte_burst_bytes`.
/// - **Milliseconds**: `ping_interval_ms`, `ping_timeout_ms`, `frame_timeout_ms`, `ready_timeout_ms`,
///   `write_timeout_ms`, `close_timeout_ms`, `linger_ms`, `idle_timeout_ms`, `max_lifetime_ms`,
///   `first_message_timeout_ms`.
/// - **Numbers**: `max_fragments`, `max_send_messages`, `control_frame_rate_per_second`, `control_frame_burst`,
///   `message_rate_per_second`, `message_burst`, `byte_rate_per_second`.
/// - **True or false**: `streaming`, `auto_pong`, `close_over_rate`, `require_subprotocol`.
/// - `subprotocols`: a list of names.
/// - `origin`: `same-host`, `same-host-or-localhost`, `any`, a list of origins, or a map with `same_host_or` and such a
///   list.
/// - `memory_budget_bytes`: besides a number or `none`, `process`, the default, which all connections of the process
///   share. A number makes a new budget each time it is read: clone the `Config` to share it.
/// - `compression` (feature `deflate`): `none`, `shared`, `dedicated`, or a map of `mode`, which is one of the last
///   two, and of settings: `level`, `memory_level`, `max_window_bits`, `peer_max_window_bits`, `threshold_bytes`,
///   `max_memory_bytes`.
///
/// If a setter takes `None`, the text `none` is written, since not every format has a null; both are read. A missing
/// field has its default. A value that a setter replaces, such as a ping interval of 1 ms, is replaced.
///
/// # Errors
///
/// Unknown fields, whole numbers that are negative or do not fit, and what the setters panic on: a subprotocol that is
/// not a token, an invalid origin, a window or a level of compression out of range.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = deserializer.deserialize_map(Fields)?;
        document.into_config().map_err(D::Error::custom)
    }
}

/// Reads fields by their names: the order of a sequence would mean nothing to its reader.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the settings of a WebSocket endpoint")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Document, A::Error> {
        Document::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
