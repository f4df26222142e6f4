//! What is in streams, and where.

use ::redis::{Cmd, Value};

use super::{partitions::Partition, publisher::put};
use crate::cluster::{backplane::Publish, topic::Topic};

/// Returns the id of an entry; and its topic and envelope, if that is what it has.
pub(super) fn parts(entry: Value) -> Option<(Vec<u8>, Option<Carried>)> {
    let Value::Array(entry) = entry else {
        return None;
    };
    let mut entry = entry.into_iter();
    let Some(Value::BulkString(id)) = entry.next() else {
        return None;
    };
    let fields = match entry.next() {
        Some(Value::Array(fields)) => <[Value; 4]>::try_from(fields).ok(),
        _ => None,
    };
    let carried = match fields {
        Some([_, Value::BulkString(topic), _, Value::BulkString(envelope)]) => {
            Some((topic, envelope))
        }
        _ => None,
    };
    Some((id, carried))
}

/// A topic, and an envelope.
type Carried = (Vec<u8>, Vec<u8>);

/// Returns the command that publishes.
pub(super) fn publish(publish: &Publish) -> Cmd {
    let topic = publish.topic();
    let mut command = Cmd::with_capacity(10, 0);
    command.arg("XADD").arg(key(topic, stream(topic)));
    command.arg("MAXLEN").arg("~").arg(KEPT).arg("*");
    command.arg("t").arg(topic.as_bytes()).arg("e");
    put(&mut command, [publish.head(), publish.payload()]);
    command
}

/// Returns which of the streams a topic is in.
fn stream(topic: &Topic) -> usize {
    Partition::of(topic.as_bytes()).index() * STREAMS / 256
}

/// Returns the key of a stream of the cluster of a topic.
pub(super) fn key(topic: &Topic, stream: usize) -> Vec<u8> {
    let stream = format!("{{{stream}}}");
    [topic.cluster(), topic.version(), stream.as_bytes()].join(&b':')
}

/// How many streams there are: each is read by one command at a time.
pub(super) const STREAMS: usize = 16;

/// How many entries each keeps, about.
const KEPT: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::topic::TopicPrefix;

    fn string(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn an_entry_has_an_id_and_a_topic_and_an_envelope_unless_it_is_foreign() {
        let entry = |fields: &[&str]| {
            let fields = fields.iter().map(|field| string(field)).collect();
            Value::Array(vec![string("7-0"), Value::Array(fields)])
        };
        let carried = Some((b"topic".to_vec(), b"envelope".to_vec()));
        let expected = Some((b"7-0".to_vec(), carried));
        assert_eq!(parts(entry(&["t", "topic", "e", "envelope"])), expected);
        for foreign in [
            entry(&[]),
            entry(&["t", "topic"]),
            entry(&["t", "topic", "e", "envelope", "x", "y"]),
            Value::Array(vec![string("7-0"), Value::Nil]),
        ] {
            assert_eq!(parts(foreign), Some((b"7-0".to_vec(), None)));
        }
        for wrong in [Value::Nil, Value::Array(vec![Value::Nil, Value::Nil])] {
            assert_eq!(parts(wrong), None);
        }
    }

    #[test]
    fn topics_of_a_cluster_are_in_16_streams_of_its_own() -> Result<(), Box<dyn std::error::Error>>
    {
        let rooms = TopicPrefix::new("shop", "rooms")?;
        let mut streams = std::collections::BTreeSet::new();
        for number in 0..1000 {
            let topic = rooms.topic(format!("{number}").as_bytes())?;
            streams.insert(stream(&topic));
            assert_eq!(key(&topic, 7), b"shop:1:{7}");
        }
        assert_eq!(streams, (0..16).collect());
        Ok(())
    }
}
