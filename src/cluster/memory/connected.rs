//! A connection, as the engine within the process knows it.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    cluster::{backplane::Ticket, topic::Topic},
    sync::Notify,
};

/// What goes wrong on a link.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) lose: usize,
    pub(super) double: usize,
    pub(super) reorder: bool,
    pub(super) delay: Duration,
    pub(super) is_cut: bool,
    pub(super) is_frozen: bool,
}

/// A connection, as the engine knows it.
pub(super) struct Connected {
    pub(super) link: usize,
    pub(super) topics: BTreeSet<Topic>,
    /// What waits to be read, and when it is there.
    pub(super) passing: VecDeque<(Instant, Passing)>,
    pub(super) bytes: usize,
    /// An envelope that waits for the one after it.
    pub(super) behind: Option<(Topic, Bytes)>,
    /// What was said while nothing passed.
    pub(super) said: VecDeque<Said>,
    /// Why it is broken, if it is.
    pub(super) broken: Option<&'static str>,
    pub(super) woken: Arc<Notify>,
}

/// What comes from the engine.
pub(super) enum Passing {
    Envelope(Topic, Bytes),
    Subscribed(Vec<Topic>),
    Denied(Vec<Topic>),
    Published(Ticket),
}

/// What goes to the engine.
pub(super) enum Said {
    Publish(Topic, Bytes, Ticket),
    Subscribe {
        permitted: Vec<Topic>,
        denied: Vec<Topic>,
    },
    Unsubscribe(Vec<Topic>),
}

impl Connected {
    /// Takes an envelope on its way from the engine, of which the faults may be that it `counts`.
    pub(super) fn take(
        &mut self,
        topic: &Topic,
        envelope: &Bytes,
        faults: &mut Faults,
        counts: bool,
    ) {
        let delay = faults.delay;
        let item = (topic.clone(), envelope.clone());
        if !counts {
            return self.push_envelope(item, delay);
        }
        if faults.lose > 0 {
            faults.lose -= 1;
            return;
        }
        if faults.reorder && self.behind.is_none() {
            faults.reorder = false;
            self.behind = Some(item);
            return;
        }
        if faults.double > 0 {
            faults.double -= 1;
            self.push_envelope(item.clone(), delay);
        }
        self.push_envelope(item, delay);
        if let Some(behind) = self.behind.take() {
            self.push_envelope(behind, delay);
        }
    }

    pub(super) fn push_envelope(&mut self, (topic, envelope): (Topic, Bytes), delay: Duration) {
        self.bytes += envelope.len();
        self.push(Passing::Envelope(topic, envelope), delay);
        if self.bytes > MAX_BYTES {
            self.end("too much waits to be read");
        }
    }

    /// Adds something behind all that is on its way.
    pub(super) fn push(&mut self, passing: Passing, delay: Duration) {
        let due = Instant::now() + delay;
        let last = self.passing.back().map(|(due, _)| *due);
        self.passing
            .push_back((due.max(last.unwrap_or(due)), passing));
        if self.passing.len() > MAX_PASSING {
            self.end("too much waits to be read");
        }
    }

    pub(super) fn end(&mut self, why: &'static str) {
        self.broken.get_or_insert(why);
        self.topics.clear();
        self.passing.clear();
        self.said.clear();
        self.behind = None;
        self.bytes = 0;
    }
}

/// How much may wait to be read from a connection.
const MAX_PASSING: usize = 65_536;

/// How many bytes of envelopes may.
const MAX_BYTES: usize = 32 << 20;
