//! How topics are spelled, and which commands there are for them.

use ::redis::{PushInfo, PushKind, Value};

use super::partitions::{Partition, topic_in};
use crate::cluster::topic::Topic;

/// How topics are spelled, and which commands there are for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Spelling {
    /// As they are.
    Plain,
    /// With the tag of their partition in front.
    Sharded,
}

impl Spelling {
    pub(super) fn publish(self) -> &'static str {
        match self {
            Self::Plain => "PUBLISH",
            Self::Sharded => "SPUBLISH",
        }
    }

    pub(super) fn subscribe(self) -> &'static str {
        match self {
            Self::Plain => "SUBSCRIBE",
            Self::Sharded => "SSUBSCRIBE",
        }
    }

    pub(super) fn unsubscribe(self) -> &'static str {
        match self {
            Self::Plain => "UNSUBSCRIBE",
            Self::Sharded => "SUNSUBSCRIBE",
        }
    }

    /// Returns the name of the channel, in two parts.
    pub(super) fn channel(self, topic: &Topic) -> [&[u8]; 2] {
        let topic = topic.as_bytes();
        match self {
            Self::Plain => [b"", topic],
            Self::Sharded => [Partition::of(topic).tag().as_bytes(), topic],
        }
    }

    /// Returns the topic of a channel.
    pub(super) fn topic(self, channel: &[u8]) -> &[u8] {
        match self {
            Self::Plain => channel,
            Self::Sharded => topic_in(channel),
        }
    }
}

/// What a server says without being asked.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Unasked {
    /// The channel of a message, and the message.
    Message(Vec<u8>, Vec<u8>),
    /// A channel that is not subscribed any more.
    Unsubscribed(Vec<u8>),
    Other,
}

impl From<PushInfo> for Unasked {
    fn from(push: PushInfo) -> Self {
        let mut data = push.data.into_iter();
        match (push.kind, data.next(), data.next()) {
            (
                PushKind::Message | PushKind::SMessage,
                Some(Value::BulkString(channel)),
                Some(Value::BulkString(content)),
            ) => Self::Message(channel, content),
            (PushKind::SUnsubscribe, Some(Value::BulkString(channel)), _) => {
                Self::Unsubscribed(channel)
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(kind: PushKind, data: Vec<Value>) -> Unasked {
        PushInfo { kind, data }.into()
    }

    #[test]
    fn messages_are_told_from_all_else_that_comes() {
        let text = |text: &str| Value::BulkString(text.into());
        for kind in [PushKind::Message, PushKind::SMessage] {
            let data = vec![text("c"), text("m")];
            assert_eq!(push(kind, data), Unasked::Message(b"c".into(), b"m".into()));
        }
        let data = vec![text("c"), Value::Int(0)];
        assert_eq!(
            push(PushKind::SUnsubscribe, data),
            Unasked::Unsubscribed(b"c".into())
        );
        for (kind, data) in [
            (PushKind::Message, vec![]),
            (PushKind::Message, vec![text("c")]),
            (PushKind::Message, vec![text("c"), Value::Int(1)]),
            (PushKind::Subscribe, vec![text("c"), text("m")]),
            (PushKind::PMessage, vec![text("p"), text("c"), text("m")]),
            (PushKind::Other("x".to_owned()), vec![text("c"), text("m")]),
            (PushKind::Disconnection, vec![]),
        ] {
            assert_eq!(push(kind, data), Unasked::Other);
        }
    }
}
