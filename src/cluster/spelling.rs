//! What a topic is known by in tables: its bytes, and a hash that is made once.

use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::LazyLock,
};

/// Returns the hash of the bytes of a topic.
///
/// With a secret of the process, since clients may have a say in what topics there are.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    SECRET.hash_one(bytes)
}

/// Whatever says which topic is meant.
pub(super) trait Spelled {
    /// Returns the hash of the bytes.
    fn hash(&self) -> u64;

    /// Returns the bytes.
    fn bytes(&self) -> &[u8];
}

/// A topic as an engine spells it, hashed once for all tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spelling<'a> {
    bytes: &'a [u8],
    hash: u64,
}

impl<'a> Spelling<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let hash = hash(bytes);
        Self { bytes, hash }
    }
}

impl Spelled for Spelling<'_> {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn bytes(&self) -> &[u8] {
        self.bytes
    }
}

impl Hash for dyn Spelled + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Spelled::hash(self));
    }
}

impl PartialEq for dyn Spelled + '_ {
    fn eq(&self, other: &Self) -> bool {
        Spelled::hash(self) == Spelled::hash(other) && self.bytes() == other.bytes()
    }
}

impl Eq for dyn Spelled + '_ {}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;
    use crate::cluster::{topic::TopicPrefix, topic_map::TopicMap};

    #[test]
    fn topics_of_one_hash_are_different_ones() {
        let topic = TopicPrefix::new("shop", "rooms").unwrap();
        let topic = topic.topic(b"a").unwrap();
        let forged = Spelling {
            bytes: b"shop:1:rooms:b",
            hash: Spelled::hash(&topic),
        };
        let mut map = TopicMap::default();
        map.insert(topic, ());
        assert!(!map.contains_key(&forged as &dyn Spelled));
    }
}
