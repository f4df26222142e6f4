//! Which part of a Redis cluster a topic belongs to.
//!
//! A channel of a cluster belongs to the slot of its name. There are 16,384 slots, which wander from
//! server to server; so topics are put into 256 partitions, and only those are followed.

use crate::sync::OnceLock;

/// One of 256 parts of all topics.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Partition(u8);

impl Partition {
    /// Returns the partition of a topic: the highest byte of the 32-bit FNV-1a of its bytes.
    pub(super) fn of(topic: &[u8]) -> Self {
        let hash = topic.iter().fold(0x811c_9dc5_u32, |hash, &byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let [highest, ..] = hash.to_be_bytes();
        Self(highest)
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    pub(super) fn index(self) -> usize {
        self.0.into()
    }

    /// Returns what precedes a topic in the name of its channel: a number in braces, which alone decides
    /// on the slot.
    pub(super) fn tag(self) -> &'static str {
        &tags()[self.index()].0
    }

    /// Returns the slot of all its channels.
    pub(super) fn slot(self) -> u16 {
        tags()[self.index()].1
    }
}

/// Returns the topic in the name of a channel, which a tag precedes.
pub(super) fn topic_in(channel: &[u8]) -> &[u8] {
    let tag = channel.iter().position(|&byte| byte == b'}');
    tag.map_or(channel, |end| &channel[end + 1..])
}

/// Returns the tag of each partition, and its slot.
///
/// That of partition *p* is the least number whose slot lies in the middle half of the slots 64 *p* to
/// 64 *p* + 63: so partitions are spread as evenly as slots are over any number of servers, and a
/// border between servers that is not quite even moves none.
fn tags() -> &'static [(Box<str>, u16)] {
    TAGS.get_or_init(|| {
        let mut tags = vec![(Box::default(), 0); PARTITIONS];
        let mut missing = PARTITIONS;
        let numbers = (0..).map(|number: u32| number.to_string());
        for number in numbers {
            let slot = slot(number.as_bytes());
            let tag: &mut (Box<str>, u16) = &mut tags[usize::from(slot / SLOTS_EACH)];
            let is_in_the_middle = (16..48).contains(&(slot % SLOTS_EACH));
            if is_in_the_middle && tag.0.is_empty() {
                *tag = (format!("{{{number}}}").into(), slot);
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
        tags
    })
}

/// Returns the slot of a key without braces: its CRC-16 of the kind called XMODEM.
fn slot(key: &[u8]) -> u16 {
    let crc = key.iter().fold(0_u16, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => crc << 1 ^ 0x1021,
        })
    });
    crc % SLOTS
}

const SLOTS: u16 = 16_384;
const PARTITIONS: usize = 256;
const SLOTS_EACH: u16 = SLOTS / PARTITIONS as u16;

static TAGS: OnceLock<Vec<(Box<str>, u16)>> = OnceLock::new();

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_slot_of_a_key_is_that_of_the_cluster_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
    }

    #[test]
    fn every_partition_has_a_tag_of_its_own_in_the_middle_of_its_slots() {
        let mut tags = HashSet::new();
        for partition in Partition::all() {
            let tag = partition.tag();
            let number = tag.trim_matches(['{', '}']);
            assert_eq!(tag, format!("{{{number}}}"));
            assert_eq!(slot(number.as_bytes()), partition.slot());
            let first = partition.index() as u16 * 64;
            assert!(
                (first + 16..first + 48).contains(&partition.slot()),
                "{tag}"
            );
            assert!(tags.insert(tag));
            // The least number: others may compute it.
            let least = (0..).find(|number: &u32| {
                (first + 16..first + 48).contains(&slot(number.to_string().as_bytes()))
            });
            assert_eq!(
                least.map(|least| least.to_string()).as_deref(),
                Some(number)
            );
        }
    }

    #[test]
    fn partitions_are_even_over_any_number_of_servers() {
        for servers in 1..=64_u32 {
            let mut held = vec![0; servers as usize];
            for partition in Partition::all() {
                held[(u32::from(partition.slot()) * servers / 16_384) as usize] += 1;
            }
            let least = held.iter().min().copied().unwrap_or_default();
            let most = held.iter().max().copied().unwrap_or_default();
            assert!(most - least <= 2, "{servers}: {held:?}");
            let expected = match servers {
                3 => 85..=86,
                7 => 36..=37,
                48 => 5..=6,
                _ => continue,
            };
            assert_eq!(least..=most, expected);
        }
    }

    #[test]
    fn topics_are_spread_over_all_partitions() {
        let mut held = [0; 256];
        for key in 0..25_600 {
            held[Partition::of(format!("shop:1:rooms:{key}").as_bytes()).index()] += 1;
        }
        assert!(held.iter().all(|held| (50..200).contains(held)), "{held:?}");
    }

    #[test]
    fn a_topic_is_found_in_its_channel_whatever_braces_it_has() {
        for topic in [
            &b"shop:1:rooms:lobby"[..],
            b"",
            b"{x}",
            b"}",
            b"{",
            b"a}{b}",
        ] {
            let tag = Partition::of(topic).tag();
            assert_eq!(topic_in(&[tag.as_bytes(), topic].concat()), topic);
        }
        assert_eq!(topic_in(b"without"), b"without");
    }

    #[test]
    fn the_topic_of_the_documentation_has_the_tag_that_it_says() {
        let partition = Partition::of(b"shop:1:rooms:lobby");
        assert_eq!((partition.index(), partition.tag()), (148, "{1084}"));
    }

    #[test]
    fn the_hash_is_fnv_1a_of_32_bits() {
        // From its authors' test vectors: "" is 811c9dc5, "a" e40c292c, "foobar" bf9cf968.
        for (topic, highest) in [("", 0x81), ("a", 0xe4), ("foobar", 0xbf)] {
            assert_eq!(Partition::of(topic.as_bytes()).index(), highest);
        }
    }
}
