//! How a topic is spelled as a subject.

use crate::cluster::topic::Topic;

/// Spells a topic: `shop.1.rooms.lobby`.
///
/// The bytes of a key that are not `A`–`Z`, `a`–`z`, `0`–`9`, `-` or `_` become `=` and two hexadecimal
/// digits, as in `=2E` for a full stop, and an empty key becomes `=`: so a key cannot be a wildcard, nor
/// more than one token.
pub(super) fn spell(topic: &Topic) -> String {
    let (names, key) = (
        [topic.cluster(), topic.version(), topic.groups()],
        topic.key(),
    );
    let len = names.iter().map(|name| name.len() + 1).sum::<usize>() + key.len();
    let mut subject = String::with_capacity(len);
    for name in names {
        // Names are ASCII.
        subject.extend(name.iter().copied().map(char::from));
        subject.push('.');
    }
    if key.is_empty() {
        subject.push('=');
    }
    for &byte in key {
        if is_plain(byte) {
            subject.push(char::from(byte));
        } else {
            let digits = [byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]);
            subject.extend(['=', char::from(digits[0]), char::from(digits[1])]);
        }
    }
    subject
}

/// Returns what the subjects of all topics of the same cluster begin with: `shop.1.`
pub(super) fn root(topic: &Topic) -> String {
    let names = [topic.cluster(), topic.version()];
    // Names are ASCII.
    let spelled = names
        .iter()
        .flat_map(|name| name.iter().copied().chain([b'.']));
    spelled.map(char::from).collect()
}

/// Returns the bytes of the topic that is spelled so, or `None` if none is.
pub(super) fn read(subject: &str) -> Option<Vec<u8>> {
    let mut tokens = subject.split('.');
    let names = [tokens.next()?, tokens.next()?, tokens.next()?];
    let key = tokens.next()?;
    if tokens.next().is_some() || key.is_empty() || names.contains(&"") {
        return None;
    }
    let mut topic = names.join(":").into_bytes();
    topic.push(b':');
    if key == "=" {
        return Some(topic);
    }
    let mut bytes = key.bytes();
    while let Some(byte) = bytes.next() {
        topic.push(match byte {
            b'=' => escaped(bytes.next()?, bytes.next()?)?,
            byte if is_plain(byte) => byte,
            _ => return None,
        });
    }
    Some(topic)
}

/// Returns the byte with these digits, if it is written so.
fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |digit| HEX.iter().position(|&hex| hex == digit);
    let byte = (digit(high)? << 4 | digit(low)?) as u8;
    (!is_plain(byte)).then_some(byte)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::cluster::{node_id::NodeId, topic::TopicPrefix};

    fn topic(key: &[u8]) -> Topic {
        let prefix = TopicPrefix::new("shop-2", "rooms").unwrap();
        prefix.topic(key).unwrap()
    }

    #[test]
    fn subject_has_the_parts_of_the_topic_as_tokens() {
        assert_eq!(spell(&topic(b"lobby_1-A")), "shop-2.1.rooms.lobby_1-A");
        assert_eq!(
            spell(&topic(b"a.b *>:=")),
            "shop-2.1.rooms.a=2Eb=20=2A=3E=3A=3D"
        );
        assert_eq!(
            spell(&topic("\u{e9}\r\n\0".as_bytes())),
            "shop-2.1.rooms.=C3=A9=0D=0A=00"
        );
        assert_eq!(spell(&topic(b"")), "shop-2.1.rooms.=");
    }

    #[test]
    fn subject_of_what_nodes_tell_each_other_is_spelled_likewise() {
        let own = TopicPrefix::own("shop").unwrap();
        assert_eq!(spell(&own.all()), "shop.1.!.all");
        assert_eq!(root(&own.all()), "shop.1.");
        let node = own.node(NodeId::new(0x1f).unwrap());
        assert_eq!(spell(&node), "shop.1.!.node-000000000000001f");
        assert_eq!(read("shop.1.!.all").unwrap(), own.all().as_bytes());
    }

    #[test]
    fn every_key_of_up_to_two_bytes_comes_back_and_has_a_subject_of_its_own() {
        let mut seen = HashSet::new();
        let one = (0..=u8::MAX).map(|byte| vec![byte]);
        let two = (0..=u16::MAX).map(|bytes| bytes.to_be_bytes().to_vec());
        for key in [Vec::new()].into_iter().chain(one).chain(two) {
            let topic = topic(&key);
            let subject = spell(&topic);
            assert_eq!(
                read(&subject).as_deref(),
                Some(topic.as_bytes()),
                "{subject}"
            );
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=.".contains(&byte);
            assert!(subject.bytes().all(plain), "{subject}");
            assert_eq!(subject.split('.').count(), 4, "{subject}");
            assert!(
                seen.insert(subject),
                "{key:?} has the subject of another key"
            );
        }
        assert_eq!(seen.len(), 1 + 256 + 65_536);
    }

    #[test]
    fn the_longest_topic_has_a_subject_that_servers_take() {
        let prefix = TopicPrefix::new(&"c".repeat(32), &"g".repeat(32)).unwrap();
        let subject = spell(&prefix.topic(&[0; 512]).unwrap());
        // `max_control_line` is 4,096 bytes by default, with the verb and the numbers.
        assert!(subject.len() <= 32 + 1 + 1 + 1 + 32 + 1 + 3 * 512);
    }

    #[test]
    fn what_is_no_topic_is_not_read_as_one() {
        for subject in [
            "",
            "shop",
            "shop.1.rooms",
            "shop.1.rooms.",
            "shop.1.rooms.a.b",
            "shop..rooms.a",
            ".1.rooms.a",
            "shop.1.rooms.a b",
            "shop.1.rooms.*",
            "shop.1.rooms.>",
            "shop.1.rooms.=2",
            "shop.1.rooms.a=",
            "shop.1.rooms.=2e",
            "shop.1.rooms.=41",
            "shop.1.rooms.=G0",
            "shop.1.rooms.==",
            "shop.1.!.inbox.abc.1",
        ] {
            assert_eq!(read(subject), None, "{subject:?}");
        }
    }
}
