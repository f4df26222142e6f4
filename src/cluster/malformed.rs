//! Why an envelope is dropped that is no good.

/// Why an envelope was dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EnvelopeError {
    /// It is longer than a message may be here.
    TooLarge,
    /// It is shorter than what it should hold.
    Truncated,
    /// Its version is not known.
    Version,
    /// Its kind is not known.
    Kind,
    /// It has a number that no sender gives.
    Number,
    /// Its kind is of another topic.
    Misplaced,
    /// It is text, and not UTF-8.
    Utf8,
    /// It is no payload of a Close frame.
    Close,
    /// It is no heartbeat.
    Alive,
    /// It is no question, and no answer to one.
    Question,
}
