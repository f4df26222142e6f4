//! What the core and a connection to an engine say to each other.

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;

use super::{envelope::Head, topic::Topic};

/// What holds for every connection to an engine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub(crate) struct Promises {
    /// Envelopes of one node and topic come in the order they were sent, as far as they come.
    pub(crate) ordered: bool,
    /// An interested node gets its own envelopes back.
    pub(crate) echoes: bool,
    /// Publishing is answered.
    pub(crate) confirms: bool,
    /// Nothing is lost over a short absence of a node.
    pub(crate) retains: bool,
    /// The largest envelope, in bytes.
    pub(crate) max_envelope: usize,
}

impl Default for Promises {
    /// Promises nothing, and sets no limit.
    fn default() -> Self {
        Self {
            ordered: false,
            echoes: false,
            confirms: false,
            retains: false,
            max_envelope: usize::MAX,
        }
    }
}

/// What a connection to the engine is to do.
#[derive(Debug)]
#[non_exhaustive]
pub(crate) enum Command {
    /// Publishes an envelope.
    Publish(Publish),
    /// Subscribes to topics, 512 at most; each is answered.
    Subscribe(Vec<Topic>),
    /// Gives subscriptions up, 512 at most; nothing is to be answered.
    Unsubscribe(Vec<Topic>),
    /// Ends: nothing follows.
    Leave,
}

/// An envelope that is to be published.
#[derive(Debug)]
pub(crate) struct Publish {
    pub(super) topic: Topic,
    pub(super) head: Head,
    pub(super) payload: Bytes,
    pub(super) ticket: Ticket,
}

impl Publish {
    /// Returns what it is published to.
    pub(crate) fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Returns what precedes the payload: 24 or 32 bytes.
    pub(crate) fn head(&self) -> &[u8] {
        self.head.as_bytes()
    }

    /// Returns the payload, which shares its bytes with the message.
    pub(crate) fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Returns the number under which it is to be answered.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }
}

/// A number of something that was published here, for its answer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Ticket(pub(super) u64);

/// Why a subscription is gone, or was never made, while the connection is sound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub(crate) enum Lost {
    /// The topic is elsewhere now: it is subscribed anew at once.
    Moved,
    /// The engine does not permit it: it is tried again every 30 seconds.
    Denied,
}

/// Why a connection to an engine failed, or something on it.
#[derive(Clone, Debug)]
pub(crate) struct BackplaneError {
    fault: Fault,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Connect,
    Broken,
    Denied,
    Unsupported,
}

impl BackplaneError {
    /// The engine cannot be reached.
    pub(crate) fn connect(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Fault::Connect, source)
    }

    /// The connection broke.
    pub(crate) fn broken(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Fault::Broken, source)
    }

    /// The engine does not permit it: a wrong password, a missing right.
    pub(crate) fn denied(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Fault::Denied, source)
    }

    /// The engine cannot do it: it is too old, or another one.
    pub(crate) fn unsupported(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Fault::Unsupported, source)
    }

    fn of(fault: Fault, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            fault,
            source: Some(source.into().into()),
        }
    }

    /// Reports whether the engine does not permit it.
    pub(crate) fn is_denied(&self) -> bool {
        self.fault == Fault::Denied
    }

    /// Reports whether the engine cannot do it, now or later.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.fault == Fault::Unsupported
    }
}

impl fmt::Display for BackplaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.fault {
            Fault::Connect => "the engine cannot be reached",
            Fault::Broken => "the connection to the engine broke",
            Fault::Denied => "the engine does not permit it",
            Fault::Unsupported => "the engine does not support it",
        })
    }
}

impl Error for BackplaneError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_whose_fault_it_is_and_its_source_what_happened() {
        let errors = [
            (
                BackplaneError::connect("refused"),
                "the engine cannot be reached",
                [false, false],
            ),
            (
                BackplaneError::broken("reset"),
                "the connection to the engine broke",
                [false, false],
            ),
            (
                BackplaneError::denied("NOPERM"),
                "the engine does not permit it",
                [true, false],
            ),
            (
                BackplaneError::unsupported("RESP2"),
                "the engine does not support it",
                [false, true],
            ),
        ];
        for (error, words, [denied, unsupported]) in errors {
            assert_eq!(error.to_string(), words);
            assert_eq!(
                [error.is_denied(), error.is_unsupported()],
                [denied, unsupported]
            );
            let source = error.source().map(ToString::to_string);
            assert!(source.is_some_and(|source| !words.contains(&source)));
        }
    }
}
