//! What other nodes ask this one.

use std::collections::VecDeque;

use super::{backplane::Ticket, counts::PER_SECOND, node_id::NodeId, question::QuestionId};

/// A question of another node, to be answered where no lock is held.
#[derive(Clone, Debug)]
pub(crate) struct Asked<G> {
    pub(crate) by: NodeId,
    pub(crate) id: QuestionId,
    /// The group that it is about; `None` if it has no members here.
    pub(crate) group: Option<G>,
}

/// The question that came last, and the answers that wait for the engine.
#[derive(Debug)]
pub(super) struct Answers<G> {
    asked: Option<Asked<G>>,
    /// Some may have left, or were given up.
    waiting: VecDeque<Ticket>,
    limit: usize,
}

impl<G> Answers<G> {
    /// Of so many envelopes that may wait for the engine, answers are a small part.
    pub(super) fn new(max_queued: usize) -> Self {
        Self {
            asked: None,
            waiting: VecDeque::new(),
            limit: (max_queued / SHARE).max(1),
        }
    }

    /// Reports whether there is room for another answer; `oldest` is the first envelope that waits for
    /// the engine or for what it says.
    pub(super) fn has_room(&mut self, oldest: Option<Ticket>) -> bool {
        let is_gone = |ticket: &Ticket| oldest.is_none_or(|oldest| *ticket < oldest);
        while self.waiting.front().is_some_and(is_gone) {
            self.waiting.pop_front();
        }
        self.waiting.len() < self.limit
    }

    /// Takes a question, for which there is [room](Self::has_room).
    pub(super) fn ask(&mut self, asked: Asked<G>) {
        self.asked = Some(asked);
    }

    /// Returns the question that came last, once.
    pub(super) fn take(&mut self) -> Option<Asked<G>> {
        self.asked.take()
    }

    /// Notes that an answer waits for the engine.
    pub(super) fn push(&mut self, ticket: Ticket) {
        self.waiting.push_back(ticket);
    }
}

/// How many questions one node may ask in a second: as many as it does in two, which may come together.
pub(super) const MOST_ASKED: u32 = 2 * PER_SECOND;

/// Of what may wait for the engine, one in so many may be an answer.
const SHARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_take_a_sixteenth_of_the_queue_and_at_least_one_place() {
        for (max_queued, most) in [(0, 1), (16, 1), (47, 2), (65_536, 4096)] {
            let mut answers = Answers::<()>::new(max_queued);
            for number in 0..most {
                assert!(answers.has_room(Some(Ticket(0))), "{max_queued}");
                answers.push(Ticket(number));
            }
            assert!(!answers.has_room(Some(Ticket(0))), "{max_queued}");
            // The first one has left.
            assert!(answers.has_room(Some(Ticket(1))), "{max_queued}");
            answers.push(Ticket(most));
            assert!(!answers.has_room(Some(Ticket(1))), "{max_queued}");
            assert!(answers.has_room(None), "nothing waits");
        }
    }
}
