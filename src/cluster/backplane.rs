//! What the core and a connection to an engine say to each other.

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;

use super::{envelope::Head, topic::Topic};

/// The promises of an engine, which hold for every connection to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Promises {
    /// Whether envelopes of one node and topic arrive in the order in which they were sent, as far as they arrive.
    pub ordered: bool,
    /// Whether an interested node gets its own envelopes back.
    pub echoes: bool,
    /// Whether the engine answers when something is published.
    pub confirms: bool,
    /// Whether nothing is lost over a short absence of a node.
    pub retains: bool,
    /// The largest envelope, in bytes.
    pub max_envelope: usize,
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

/// A command of the node for a connection to the engine.
#[derive(Debug)]
#[non_exhaustive]
pub enum Command {
    /// Publishes an envelope.
    Publish(Publish),
    /// Subscribes to topics, 512 at most; each is answered.
    Subscribe(Vec<Topic>),
    /// Cancels subscriptions, 512 at most; no answer is expected.
    Unsubscribe(Vec<Topic>),
    /// Ends the connection: no command follows.
    Leave,
}

/// An envelope that is to be published.
#[derive(Debug)]
pub struct Publish {
    pub(super) topic: Topic,
    pub(super) head: Head,
    pub(super) payload: Bytes,
    pub(super) ticket: Ticket,
}

impl Publish {
    /// Returns the topic that the envelope is published to.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Returns the bytes that precede the payload: 24 or 32.
    pub fn head(&self) -> &[u8] {
        self.head.as_bytes()
    }

    /// Returns the payload, which shares its bytes with the message.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Returns the number under which the engine's answer is to be reported.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }
}

/// The number of an envelope that was published here, for the engine's answer.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub(super) u64);

/// The reasons for which a subscription is gone, or was never made, while the connection is sound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Lost {
    /// The topic is elsewhere now: it is subscribed again at once.
    Moved,
    /// The engine does not permit it: it is tried again every 30 seconds.
    Denied,
    /// The server of the topic cannot be reached.
    ///
    /// The backplane subscribes to it by itself once it can, and reports that. It is told to subscribe again every 30 seconds
    /// all the same.
    Away,
}

/// The error of a connection to an engine, or of something on it.
///
/// ```
/// use tower_websocket::cluster::BackplaneError;
///
/// let wrong = BackplaneError::denied(std::io::Error::other("WRONGPASS"));
/// assert!(wrong.is_denied() && !wrong.is_unsupported());
/// let old = BackplaneError::unsupported(std::io::Error::other("version 5"));
/// assert!(old.is_unsupported());
/// ```
#[derive(Clone, Debug)]
pub struct BackplaneError {
    fault: Fault,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Connect,
    Broken,
    Denied,
    Unsupported,
    Silent,
    Ended,
    Panicked,
}

impl BackplaneError {
    /// Creates the error of an engine that cannot be reached.
    pub fn connect(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Fault::Connect, source)
    }

    /// Creates the error of a connection that broke.
    pub fn broken(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Fault::Broken, source)
    }

    /// Creates the error of something that the engine does not permit: a wrong password, a missing right.
    pub fn denied(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Fault::Denied, source)
    }

    /// Creates the error of something that the engine cannot do: it is too old, or another one.
    pub fn unsupported(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::of(Fault::Unsupported, source)
    }

    /// The engine stays silent.
    pub(super) fn silent(words: &'static str) -> Self {
        Self::of(Fault::Silent, words)
    }

    /// The connection ended, and nobody says why.
    pub(super) fn ended() -> Self {
        Self {
            fault: Fault::Ended,
            source: None,
        }
    }

    /// What serves the connection panicked.
    pub(super) fn panicked() -> Self {
        Self {
            fault: Fault::Panicked,
            source: None,
        }
    }

    /// Returns what happened, with the sources.
    pub(super) fn in_words(&self) -> String {
        let mut words = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            words.push_str(&format!(": {error}"));
            source = error.source();
        }
        words
    }

    fn of(fault: Fault, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            fault,
            source: Some(source.into().into()),
        }
    }

    /// Reports whether the engine does not permit what was tried.
    pub fn is_denied(&self) -> bool {
        self.fault == Fault::Denied
    }

    /// Reports whether the engine cannot do what was tried, now or later.
    pub fn is_unsupported(&self) -> bool {
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
            Fault::Silent => "the engine is silent",
            Fault::Ended => "the connection to the engine ended",
            Fault::Panicked => "what serves the connection to the engine panicked",
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
