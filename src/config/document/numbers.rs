//! Numbers, and the words that stand in their place.

use std::{fmt, num::TryFromIntError, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

use crate::memory::MemoryBudget;

/// A limit, or the word that there is none.
#[derive(Clone, Copy)]
pub(super) struct Limit<T>(pub(super) Option<T>);

/// Writes a number. Formats such as TOML have signed ones alone: one that is larger, which says "never" or "without end",
/// is written as the largest of them.
pub(super) fn signed<T: Copy + TryInto<i64>, S: Serializer>(
    number: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let number: i64 = (*number).try_into().unwrap_or(i64::MAX);
    serializer.serialize_u64(number.unsigned_abs())
}

impl<T: Copy + TryInto<i64>> Serialize for Limit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(limit) => signed(limit, serializer),
            None => serializer.serialize_str(NONE),
        }
    }
}

impl<'de, T: TryFrom<u64>> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let told = deserializer.deserialize_any(NumberOr(&[NONE]))?;
        told.number().map(fit).transpose().map(Self)
    }
}

/// Milliseconds.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Millis(#[serde(serialize_with = "signed")] u64);

impl From<u64> for Millis {
    fn from(millis: u64) -> Self {
        Self(millis)
    }
}

impl From<Duration> for Millis {
    /// Rounds up: what was longer than nothing is not nothing.
    fn from(duration: Duration) -> Self {
        let millis = duration.as_nanos().div_ceil(1_000_000);
        Self(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl TryFrom<Millis> for i64 {
    type Error = TryFromIntError;

    fn try_from(millis: Millis) -> Result<Self, TryFromIntError> {
        Self::try_from(millis.0)
    }
}

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0)
    }
}

impl From<Option<Duration>> for Limit<Millis> {
    fn from(duration: Option<Duration>) -> Self {
        Self(duration.map(Millis::from))
    }
}

impl From<Limit<Millis>> for Option<Duration> {
    fn from(limit: Limit<Millis>) -> Self {
        limit.0.map(Duration::from)
    }
}

/// A budget by its limit, or the one of the process.
pub(super) enum BudgetDocument {
    Process,
    Own(Limit<usize>),
}

impl BudgetDocument {
    pub(super) fn into_budget(self) -> MemoryBudget {
        match self {
            Self::Process => MemoryBudget::default(),
            Self::Own(Limit(Some(bytes))) => MemoryBudget::new(bytes),
            Self::Own(Limit(None)) => MemoryBudget::unlimited(),
        }
    }
}

impl From<&MemoryBudget> for BudgetDocument {
    fn from(budget: &MemoryBudget) -> Self {
        if budget.is_same(&MemoryBudget::default()) {
            Self::Process
        } else {
            Self::Own(Limit(budget.limit()))
        }
    }
}

impl Serialize for BudgetDocument {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Process => serializer.serialize_str(PROCESS),
            Self::Own(limit) => limit.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for BudgetDocument {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(
            match deserializer.deserialize_any(NumberOr(&[NONE, PROCESS]))? {
                Told::Word(PROCESS) => Self::Process,
                told => Self::Own(Limit(told.number().map(fit).transpose()?)),
            },
        )
    }
}

/// What stands in a number's place.
enum Told {
    Number(u64),
    Word(&'static str),
}

impl Told {
    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Word(_) => None,
        }
    }
}

fn fit<T: TryFrom<u64>, E: Error>(number: u64) -> Result<T, E> {
    T::try_from(number).map_err(|_| {
        let expected = format!("a number of at most {} bytes", size_of::<T>());
        E::invalid_value(Unexpected::Unsigned(number), &expected.as_str())
    })
}

/// Reads a number or one of these words, of which `none` may be a null.
struct NumberOr(&'static [&'static str]);

impl<'de> Visitor<'de> for NumberOr {
    type Value = Told;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number or `{}`", self.0.join("` or `"))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Told, E> {
        Ok(Told::Number(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Told, E> {
        let unsigned = u64::try_from(number);
        unsigned
            .map(Told::Number)
            .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Told, E> {
        let known = self.0.iter().find(|known| **known == word);
        known
            .map(|known| Told::Word(known))
            .ok_or_else(|| E::invalid_value(Unexpected::Str(word), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<Told, E> {
        Ok(Told::Word(NONE))
    }

    fn visit_none<E: Error>(self) -> Result<Told, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Told, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// There is no limit.
pub(super) const NONE: &str = "none";

/// The budget that all connections of the process share.
const PROCESS: &str = "process";
