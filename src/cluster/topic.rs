//! What an engine routes by.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    error, fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    node_id::NodeId,
    spelling::{self, Spelled},
};

/// A topic: the name of the cluster, the version, the name of the groups, and the key of one.
///
/// It is cheap to clone. Its [bytes](Self::as_bytes) are the parts with `:` between them, of which the
/// names have none: `shop:1:rooms:lobby`. An engine in which some bytes have a meaning spells the
/// parts in its own way.
// First comes the hash of the bytes, so that no table hashes them anew.
#[derive(Clone, Eq, PartialEq)]
pub struct Topic(Arc<[u8]>);

impl Topic {
    /// Returns the whole topic, with `:` between the parts.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[HASH..]
    }

    fn new(prefix: &[u8], key: &[u8]) -> Self {
        let mut topic = vec![0; HASH];
        topic.reserve_exact(prefix.len() + key.len());
        topic.extend(prefix);
        topic.extend(key);
        let hash = spelling::hash(&topic[HASH..]);
        topic[..HASH].copy_from_slice(&hash.to_ne_bytes());
        Self(topic.into())
    }

    /// Returns the name of the cluster.
    pub fn cluster(&self) -> &[u8] {
        self.parts()[0]
    }

    /// Returns the version of the envelopes, `1`.
    pub fn version(&self) -> &[u8] {
        self.parts()[1]
    }

    /// Returns the name of the groups; `!` for what nodes send each other.
    pub fn groups(&self) -> &[u8] {
        self.parts()[2]
    }

    /// Returns the key, which may hold any bytes.
    pub fn key(&self) -> &[u8] {
        self.parts()[3]
    }

    fn parts(&self) -> [&[u8]; 4] {
        let mut parts = self.as_bytes().splitn(4, |&byte| byte == b':');
        // It was made of four parts, and only the last can have the separator in it.
        [(); 4].map(|()| parts.next().unwrap_or_default())
    }
}

impl Spelled for Topic {
    fn hash(&self) -> u64 {
        // It is there from the beginning.
        self.0.first_chunk().copied().map_or(0, u64::from_ne_bytes)
    }

    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<'a> Borrow<dyn Spelled + 'a> for Topic {
    fn borrow(&self) -> &(dyn Spelled + 'a) {
        self
    }
}

impl Hash for Topic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(Spelled::hash(self));
    }
}

impl Ord for Topic {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Topic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({})", self.as_bytes().escape_ascii())
    }
}

/// What all topics of the same groups begin with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TopicPrefix(Arc<[u8]>);

impl TopicPrefix {
    /// Makes the prefix of groups.
    ///
    /// # Errors
    ///
    /// A name that is empty, longer than 32 bytes, or has other bytes than `a`–`z`, `0`–`9`, `-`.
    pub(crate) fn new(cluster: &str, groups: &str) -> Result<Self, InvalidName> {
        check_name(groups)?;
        Self::of(cluster, groups)
    }

    /// Makes the prefix of what nodes tell each other.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub(crate) fn own(cluster: &str) -> Result<Self, InvalidName> {
        Self::of(cluster, OWN)
    }

    fn of(cluster: &str, groups: &str) -> Result<Self, InvalidName> {
        check_name(cluster)?;
        Ok(Self(
            format!("{cluster}:{VERSION}:{groups}:").into_bytes().into(),
        ))
    }

    /// Makes the topic of a group.
    ///
    /// # Errors
    ///
    /// A key of more than 512 bytes.
    pub(crate) fn topic(&self, key: &[u8]) -> Result<Topic, LongKey> {
        if key.len() > MAX_KEY {
            return Err(LongKey(key.len()));
        }
        Ok(self.short(key))
    }

    /// Returns the topic of heartbeats, which every node has subscribed to.
    pub(crate) fn all(&self) -> Topic {
        self.short(b"all")
    }

    /// Returns the topic of what is for one node.
    pub(crate) fn node(&self, id: NodeId) -> Topic {
        self.short(format!("node-{id}").as_bytes())
    }

    fn short(&self, key: &[u8]) -> Topic {
        Topic::new(&self.0, key)
    }
}

fn check_name(name: &str) -> Result<(), InvalidName> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(InvalidName(()))
    }
}

/// A name of a cluster or of groups that is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct InvalidName(());

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a name has 1 to {MAX_NAME} of the characters a-z, 0-9 and -"
        )
    }
}

impl error::Error for InvalidName {}

/// A key that is too long, with its length in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct LongKey(pub(crate) usize);

impl fmt::Display for LongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key of {} bytes exceeds the limit of {MAX_KEY}", self.0)
    }
}

impl error::Error for LongKey {}

/// The length of a hash, in bytes.
const HASH: usize = size_of::<u64>();

/// The version of topics: a later one may live beside it.
const VERSION: &str = "1";

/// Stands for the name of groups where nodes talk to each other; no groups can be called so.
const OWN: &str = "!";

/// The longest name, in bytes.
const MAX_NAME: usize = 32;

/// The longest key, in bytes.
const MAX_KEY: usize = 512;

/// The longest topic, in bytes: two names, the version and the key, with what stands between them.
pub(super) const MAX_TOPIC: usize = 2 * MAX_NAME + VERSION.len() + MAX_KEY + 3;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    #[test]
    fn topic_has_the_parts_of_which_it_was_made_whatever_the_key() {
        let rooms = TopicPrefix::new("shop", "rooms").unwrap();
        for key in [
            &b"lobby"[..],
            b"",
            b":",
            b"1:rooms:lobby",
            b"{x}",
            b"\0\xff*>",
        ] {
            let topic = rooms.topic(key).unwrap();
            assert_eq!(topic.cluster(), b"shop");
            assert_eq!(topic.version(), b"1");
            assert_eq!(topic.groups(), b"rooms");
            assert_eq!(topic.key(), key);
        }
        let lobby = rooms.topic(b"lobby").unwrap();
        assert_eq!(lobby.as_bytes(), b"shop:1:rooms:lobby");
    }

    #[test]
    fn no_key_of_groups_makes_a_topic_of_others() {
        let (a, b) = ("a", "a-b");
        let mut topics = std::collections::HashSet::new();
        let keys = [&b""[..], b":", b"a:", b"1:a:", b":1:a-b:", b"all"];
        for cluster in [a, b] {
            for groups in [a, b] {
                let prefix = TopicPrefix::new(cluster, groups).unwrap();
                for key in keys {
                    assert!(topics.insert(prefix.topic(key).unwrap()));
                }
            }
            assert!(topics.insert(TopicPrefix::own(cluster).unwrap().all()));
        }
    }

    #[test]
    fn names_have_1_to_32_of_few_characters() {
        let longest = "a".repeat(32);
        for name in ["a", "0", "-", "shop-2", &longest] {
            assert!(TopicPrefix::new(name, name).is_ok(), "{name}");
        }
        let longer = "a".repeat(33);
        for name in ["", "A", "a:b", "!", "a_b", "ä", "a b", "a.b", &longer] {
            assert!(TopicPrefix::new(name, "rooms").is_err(), "{name}");
            assert!(TopicPrefix::new("shop", name).is_err(), "{name}");
            assert!(TopicPrefix::own(name).is_err(), "{name}");
        }
    }

    #[test]
    fn keys_have_512_bytes_at_most() {
        let rooms = TopicPrefix::new("shop", "rooms").unwrap();
        assert!(rooms.topic(&[b'x'; 512]).is_ok());
        assert_eq!(rooms.topic(&[b'x'; 513]), Err(LongKey(513)));
    }

    #[test]
    fn the_topics_of_the_cluster_itself_are_those_of_no_groups() {
        let own = TopicPrefix::own("shop").unwrap();
        let node = NodeId::new(0xff).unwrap();
        assert_eq!(own.all().as_bytes(), b"shop:1:!:all");
        assert_eq!(own.node(node).as_bytes(), b"shop:1:!:node-00000000000000ff");
    }
}
