//! The numbers under which a node sends, topic by topic.

use std::mem;

use super::{number::Number, topic::Topic, topic_map::TopicMap, waste::Waste};

/// What the next envelope of each topic is numbered.
///
/// The topics are in two generations. A topic that is used moves into the young one; once that is
/// full, the old one is forgotten. A forgotten topic begins a new run, above all earlier ones.
#[derive(Debug)]
pub(super) struct Numbers {
    young: TopicMap<Number>,
    old: TopicMap<Number>,
    /// How many topics a generation has.
    generation: usize,
    last_run: u64,
}

impl Numbers {
    pub(super) fn new(generation: usize) -> Self {
        Self {
            young: TopicMap::default(),
            old: TopicMap::default(),
            generation: generation.max(1),
            last_run: 0,
        }
    }

    /// Returns the number of the next envelope to a topic, and uses it up.
    pub(super) fn next(&mut self, topic: &Topic, waste: &mut Waste) -> Number {
        if let Some(next) = self.young.get_mut(topic) {
            return step(next, &mut self.last_run);
        }
        let mut next = match self.old.remove(topic) {
            Some(next) => next,
            None => begin(&mut self.last_run),
        };
        let number = step(&mut next, &mut self.last_run);
        if self.young.len() >= self.generation {
            // All at once: growing step by step would move each of them several times.
            let young = TopicMap::with_capacity_and_hasher(self.generation, <_>::default());
            let old = mem::replace(&mut self.young, young);
            waste.numbers.push(mem::replace(&mut self.old, old));
        }
        self.young.insert(topic.clone(), next);
        number
    }
}

/// Returns the next number, and makes it the one after it.
fn step(next: &mut Number, last_run: &mut u64) -> Number {
    if next.index == u32::MAX {
        *next = begin(last_run);
    }
    let number = *next;
    next.index += 1;
    number
}

/// Returns the first number of a new run.
fn begin(last_run: &mut u64) -> Number {
    *last_run += 1;
    Number {
        run: *last_run,
        index: 0,
    }
}

#[cfg(test)]
mod tests;
