//! Compression, by its mode and what differs from that.

use std::{fmt, ops::RangeInclusive};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Unexpected, Visitor, value::MapAccessDeserializer},
};

use super::{
    make,
    mode::Mode,
    numbers::{Limit, NONE},
};
use crate::compression::{Compression, CompressionSettings};

/// Compression, if there is any.
pub(super) struct CompressionDocument(Option<Fields>);

/// A mode, and what differs from it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    mode: Mode,
    #[serde(default, deserialize_with = "given")]
    level: Option<u8>,
    #[serde(default, deserialize_with = "given")]
    memory_level: Option<u8>,
    #[serde(default, deserialize_with = "given")]
    max_window_bits: Option<u8>,
    #[serde(default, deserialize_with = "given")]
    peer_max_window_bits: Option<u8>,
    #[serde(default, deserialize_with = "given")]
    threshold_bytes: Option<usize>,
    #[serde(default, deserialize_with = "given")]
    max_memory_bytes: Option<Limit<usize>>,
}

/// Reads a field that is there: a null is a value, not a field that is left out.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl From<Option<CompressionSettings>> for CompressionDocument {
    fn from(settings: Option<CompressionSettings>) -> Self {
        Self(settings.map(Fields::from))
    }
}

impl From<CompressionSettings> for Fields {
    fn from(settings: CompressionSettings) -> Self {
        let CompressionSettings {
            context_takeover,
            level,
            threshold,
            max_window_bits,
            peer_max_window_bits,
            memory_level,
            max_memory,
        } = settings;
        Self {
            mode: if context_takeover {
                Mode::Dedicated
            } else {
                Mode::Shared
            },
            level: Some(level),
            memory_level: Some(memory_level),
            max_window_bits: Some(max_window_bits),
            peer_max_window_bits: Some(peer_max_window_bits),
            threshold_bytes: Some(threshold.min(MOST)),
            max_memory_bytes: Some(Limit(max_memory)),
        }
    }
}

impl From<Mode> for Fields {
    fn from(mode: Mode) -> Self {
        Self {
            mode,
            level: None,
            memory_level: None,
            max_window_bits: None,
            peer_max_window_bits: None,
            threshold_bytes: None,
            max_memory_bytes: None,
        }
    }
}

impl CompressionDocument {
    pub(super) fn into_compression(self) -> Result<Option<Compression>, String> {
        self.0.map(Fields::into_compression).transpose()
    }
}

impl Fields {
    fn into_compression(self) -> Result<Compression, String> {
        let mut compression = make(self.mode)?;
        if let Some(level) = within("level", self.level, 1..=9)? {
            compression = compression.level(level);
        }
        if let Some(level) = within("memory_level", self.memory_level, 1..=9)? {
            compression = compression.memory_level(level);
        }
        if let Some(bits) = within("max_window_bits", self.max_window_bits, 9..=15)? {
            compression = compression.max_window_bits(bits);
        }
        if let Some(bits) = within("peer_max_window_bits", self.peer_max_window_bits, 9..=15)? {
            compression = compression.peer_max_window_bits(bits);
        }
        if let Some(bytes) = self.threshold_bytes {
            compression = compression.threshold(bytes);
        }
        if let Some(Limit(bytes)) = self.max_memory_bytes {
            compression = compression.max_memory(bytes);
        }
        Ok(compression)
    }
}

/// Checks what the setters panic on.
fn within(
    name: &str,
    value: Option<u8>,
    allowed: RangeInclusive<u8>,
) -> Result<Option<u8>, String> {
    match value {
        Some(value) if !allowed.contains(&value) => {
            let (first, last) = allowed.into_inner();
            Err(format!(
                "compression: {name} is {value}, and has to be {first} to {last}"
            ))
        }
        value => Ok(value),
    }
}

/// Formats such as TOML have signed numbers alone.
const MOST: usize = i64::MAX as usize;

impl Serialize for CompressionDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(fields) => fields.serialize(serializer),
            None => serializer.serialize_str(NONE),
        }
    }
}

impl<'de> Deserialize<'de> for CompressionDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModeOrFields).map(Self)
    }
}

struct ModeOrFields;

impl<'de> Visitor<'de> for ModeOrFields {
    type Value = Option<Fields>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`none`, `shared`, `dedicated`, or a map with its `mode`")
    }

    fn visit_str<E: Error>(self, mode: &str) -> Result<Self::Value, E> {
        match mode {
            NONE => Ok(None),
            "shared" => Ok(Some(Mode::Shared.into())),
            "dedicated" => Ok(Some(Mode::Dedicated.into())),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Fields::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}
