//! What is of no more use, and has to be dropped where no lock is held.

use std::{collections::VecDeque, num::NonZeroU32, time::Instant};

use bytes::Bytes;

use super::{
    backplane::BackplaneError, envelope::Carried, number::Number, topic::Topic, topic_map::TopicMap,
};

/// What is of no more use: payloads of the application, errors of an engine, and large tables.
///
/// Dropping it may run code of the application, or take a while: so not under a lock.
#[derive(Debug, Default)]
#[must_use = "it is to be dropped where no lock is held"]
pub(crate) struct Waste {
    pub(super) payloads: Vec<Bytes>,
    pub(super) carried: Vec<Carried>,
    pub(super) errors: Vec<BackplaneError>,
    pub(super) numbers: Vec<TopicMap<Number>>,
    pub(super) leftovers: Vec<Leftover>,
}

/// What of the topics a connection that has come or gone leaves behind.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) _topics: VecDeque<Topic>,
    pub(super) _lingering: VecDeque<(NonZeroU32, Instant, Topic)>,
    pub(super) _denied: VecDeque<(Instant, Topic)>,
}

impl Waste {
    /// Reports whether there is nothing to be dropped.
    pub(crate) fn is_empty(&self) -> bool {
        self.payloads.is_empty()
            && self.carried.is_empty()
            && self.errors.is_empty()
            && self.numbers.is_empty()
            && self.leftovers.is_empty()
    }
}
