//! The origin policy.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Unexpected, Visitor},
    ser,
};

use crate::handshake::{OriginList, OriginPolicy};

/// A policy, if it can be written.
pub(super) enum OriginDocument {
    SameHost,
    Any,
    List(Vec<String>),
    /// It is a function.
    Unwritable,
}

impl From<&OriginPolicy> for OriginDocument {
    fn from(policy: &OriginPolicy) -> Self {
        match policy {
            OriginPolicy::SameHost => Self::SameHost,
            OriginPolicy::Any => Self::Any,
            OriginPolicy::List(list) => Self::List(list.iter().map(str::to_owned).collect()),
            OriginPolicy::Predicate(_) => Self::Unwritable,
        }
    }
}

impl OriginDocument {
    pub(super) fn into_policy(self) -> Result<OriginPolicy, String> {
        Ok(match self {
            Self::SameHost => OriginPolicy::SameHost,
            Self::Any => OriginPolicy::Any,
            Self::List(origins) => OriginPolicy::list(checked(origins)?),
            Self::Unwritable => return Err("origin: a function cannot be read".to_owned()),
        })
    }
}

/// Checks what the policies panic on.
fn checked(origins: Vec<String>) -> Result<Vec<String>, String> {
    for origin in &origins {
        if let Some(why) = OriginList::refuses(origin) {
            return Err(format!("origin: {origin:?} allows no page: {why}"));
        }
    }
    Ok(origins)
}

impl Serialize for OriginDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::SameHost => serializer.serialize_str(SAME_HOST),
            Self::Any => serializer.serialize_str(ANY),
            Self::List(origins) => origins.serialize(serializer),
            Self::Unwritable => Err(ser::Error::custom(
                "an origin policy that is a function cannot be written",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for OriginDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrList)
    }
}

struct NameOrList;

impl<'de> Visitor<'de> for NameOrList {
    type Value = OriginDocument;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{SAME_HOST}`, `{ANY}`, or a list of origins")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<OriginDocument, E> {
        match name {
            SAME_HOST => Ok(OriginDocument::SameHost),
            ANY => Ok(OriginDocument::Any),
            other => Err(E::invalid_value(Unexpected::Str(other), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OriginDocument, A::Error> {
        let mut origins = Vec::new();
        while let Some(origin) = list.next_element()? {
            origins.push(origin);
        }
        Ok(OriginDocument::List(origins))
    }
}

const SAME_HOST: &str = "same-host";

const ANY: &str = "any";
