//! The number of an envelope.

/// A number of an envelope, within what its sender sends to one topic.
///
/// Ordered as the envelopes were sent.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Number {
    /// Rises each time the sender begins to number the topic anew; 0 for senders outside the cluster, which do not number.
    pub(crate) run: u64,
    /// The index within the run, from 0; below [`u32::MAX`].
    pub(crate) index: u32,
}
