//! Subscriptions that are asked for, and not answered.

use std::{collections::VecDeque, time::Instant};

/// The chunks in which topics are asked for, of which 16 may be unanswered.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// The number of the first of them.
    first: u32,
    /// How many topics of each are unanswered, and since when.
    unanswered: VecDeque<(usize, Instant)>,
}

impl Chunks {
    /// Reports whether one more may be asked for.
    pub(super) fn has_room(&self) -> bool {
        let unanswered = self.unanswered.iter().filter(|(topics, _)| *topics > 0);
        unanswered.count() < MAX_CHUNKS
    }

    /// Returns the number of the next one.
    pub(super) fn next(&self) -> u32 {
        // Far fewer than 2^32 are there at a time.
        self.first.wrapping_add(self.unanswered.len() as u32)
    }

    /// Notes that it is asked for.
    pub(super) fn push(&mut self, topics: usize, now: Instant) {
        self.unanswered.push_back((topics, now));
    }

    /// Notes that a topic of a chunk is answered.
    pub(super) fn answered(&mut self, chunk: u32) {
        let place = chunk.wrapping_sub(self.first) as usize;
        if let Some((topics, _)) = self.unanswered.get_mut(place) {
            *topics = topics.saturating_sub(1);
        }
        while self
            .unanswered
            .front()
            .is_some_and(|(topics, _)| *topics == 0)
        {
            self.unanswered.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// Forgets all of them: their answers will not come.
    pub(super) fn clear(&mut self) {
        self.first = self.next();
        self.unanswered.clear();
    }

    /// Returns when the oldest was asked for.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.unanswered.front().map(|&(_, since)| since)
    }
}

/// How many chunks may be unanswered.
const MAX_CHUNKS: usize = 16;
