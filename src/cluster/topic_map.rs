//! Tables by topic, which hash no topic anew.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::topic::Topic;

/// A table by topic.
pub(super) type TopicMap<V> = HashMap<Topic, V, BuildHasherDefault<TopicHasher>>;

/// Passes on the hash that a topic has.
#[derive(Default)]
pub(super) struct TopicHasher(u64);

impl Hasher for TopicHasher {
    fn write(&mut self, bytes: &[u8]) {
        // Topics give nothing but their hash; whatever else is right all the same.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;
    use crate::cluster::{
        spelling::{Spelled, Spelling},
        topic::TopicPrefix,
    };

    #[test]
    fn a_topic_is_found_by_itself_and_by_its_bytes() {
        let rooms = TopicPrefix::new("shop", "rooms").unwrap();
        let mut map = TopicMap::default();
        for number in 0..1000 {
            let topic = rooms.topic(format!("{number}").as_bytes()).unwrap();
            map.insert(topic, number);
        }
        for number in 0..1000 {
            let topic = rooms.topic(format!("{number}").as_bytes()).unwrap();
            assert_eq!(map.get(&topic), Some(&number));
            let spelling = Spelling::new(topic.as_bytes());
            assert_eq!(map.get(&spelling as &dyn Spelled), Some(&number));
        }
        let other = Spelling::new(b"shop:1:rooms:1000");
        assert_eq!(map.get(&other as &dyn Spelled), None);
    }
}
