//! The origin policy.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Unexpected, Visitor},
    ser,
};

use crate::handshake::{OriginList, OriginPolicy};

/// A policy, if it can be written.
pub(super) enum OriginDocument {
    SameHost,
    SameHostOr(Vec<String>),
    SameHostOrLocalhost,
    Any,
    List(Vec<String>),
    /// It is a function.
    Unwritable,
}

impl From<&OriginPolicy> for OriginDocument {
    fn from(policy: &OriginPolicy) -> Self {
        match policy {
            OriginPolicy::SameHost => Self::SameHost,
            OriginPolicy::SameHostOr(list) => {
                Self::SameHostOr(list.iter().map(str::to_owned).collect())
            }
            OriginPolicy::SameHostOrLocalhost => Self::SameHostOrLocalhost,
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
            Self::SameHostOr(origins) => OriginPolicy::same_host_or(checked(origins)?),
            Self::SameHostOrLocalhost => OriginPolicy::SameHostOrLocalhost,
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
            Self::SameHostOr(origins) => serializer.collect_map([(SAME_HOST_OR, origins)]),
            Self::SameHostOrLocalhost => serializer.serialize_str(SAME_HOST_OR_LOCALHOST),
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
        write!(
            f,
            "`{SAME_HOST}`, `{SAME_HOST_OR_LOCALHOST}`, `{ANY}`, a list of origins, or a map with \
             `{SAME_HOST_OR}` and such a list"
        )
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<OriginDocument, E> {
        match name {
            SAME_HOST => Ok(OriginDocument::SameHost),
            SAME_HOST_OR_LOCALHOST => Ok(OriginDocument::SameHostOrLocalhost),
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

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OriginDocument, A::Error> {
        let mut origins = None;
        while let Some(name) = map.next_key::<String>()? {
            if name != SAME_HOST_OR {
                return Err(de::Error::unknown_field(&name, &[SAME_HOST_OR]));
            }
            if origins.replace(map.next_value()?).is_some() {
                return Err(de::Error::duplicate_field(SAME_HOST_OR));
            }
        }
        let origins = origins.ok_or_else(|| de::Error::missing_field(SAME_HOST_OR))?;
        Ok(OriginDocument::SameHostOr(origins))
    }
}

const SAME_HOST: &str = "same-host";

const SAME_HOST_OR: &str = "same_host_or";

const SAME_HOST_OR_LOCALHOST: &str = "same-host-or-localhost";

const ANY: &str = "any";
