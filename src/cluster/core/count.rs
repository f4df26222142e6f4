//! How many members a group has: asked of other nodes, and answered to them.

use std::time::Instant;

use super::{Came, Core};
use crate::cluster::{
    asked::Asked,
    counts::{Asking, Heard, Tally},
    envelope::{EnvelopeHeader, Kind, Letter},
    events::CoreEvent,
    incoming::Target,
    link::LinkState,
    malformed::EnvelopeError,
    node_id::NodeId,
    question::{Answer, Question, QuestionId},
    spelling::Spelling,
    topic::Topic,
};

impl<G: Clone> Core<G> {
    /// Asks the other nodes how many members a group has there, unless it is known or was asked already.
    ///
    /// Of a question that runs [`CoreEvent::Counted`] tells the answers. That is once all are there, or when
    /// [`end_question`](Self::end_question) is called.
    pub(crate) fn ask(&mut self, topic: &Topic, now: Instant) -> Asking {
        self.end_questions(now);
        if let Some(asking) = self.counts.find(topic, now) {
            return asking;
        }
        let is_ready = self.link == LinkState::Ready;
        let is_alone = is_ready && self.nodes.len() == 0;
        let is_out = self.link.is_away() || self.leaving.is_some();
        if is_out || is_alone || !self.counts.may_ask(now) {
            return Asking::Known(self.unheard());
        }
        let id = QuestionId(self.chance.number());
        if is_ready && !self.send_question(topic, id, now) {
            return Asking::Known(self.unheard());
        }
        let asking = self.counts.begin(topic, id, self.nodes.ids(), now);
        if is_ready {
            self.counts.sent(topic);
        }
        asking
    }

    /// Returns what is known of members on other nodes where nobody has answered.
    pub(crate) fn unheard(&self) -> Tally {
        Tally::unheard(self.nodes.len())
    }

    /// Waits for no more answers to a question.
    pub(crate) fn end_question(&mut self, id: QuestionId, now: Instant) {
        let tally = self.counts.end(id, now);
        self.counted(tally.map(|tally| (id, tally)));
    }

    /// Forgets a question: nobody waits for the answers.
    pub(crate) fn forget_question(&mut self, id: QuestionId) {
        self.counts.forget(id);
    }

    /// Returns the group with members here whose topic this is.
    pub(crate) fn group(&mut self, topic: &Topic) -> Option<G> {
        self.group_of(&Spelling::new(topic.as_bytes()))
    }

    fn group_of(&mut self, topic: &Spelling<'_>) -> Option<G> {
        match self.interest.get_mut(topic)?.target()? {
            Target::Group(group) => Some(group.clone()),
            Target::All | Target::Node => None,
        }
    }

    /// Sends what was asked before envelopes left.
    pub(super) fn send_questions(&mut self, now: Instant) {
        for (topic, id) in self.counts.unsent() {
            self.counts.expect(&topic, self.nodes.ids());
            if self.nodes.len() > 0 && self.send_question(&topic, id, now) {
                self.counts.sent(&topic);
            } else {
                self.end_question(id, now);
            }
        }
    }

    fn send_question(&mut self, topic: &Topic, id: QuestionId, now: Instant) -> bool {
        let question = Question {
            id,
            topic: topic.as_bytes(),
        };
        let letter = Letter::question(&question);
        self.queue_own(&self.own.all(), letter, now).is_ok()
    }

    /// Ends the questions that have run for too long.
    pub(super) fn end_questions(&mut self, now: Instant) {
        let over = self.counts.handle_timeout(now);
        self.counted(over);
    }

    /// Ends all questions: no answer comes any more.
    pub(super) fn end_all_questions(&mut self) {
        let over = self.counts.end_all();
        self.counted(over);
    }

    /// Waits no more for the answers of a node that has left.
    pub(super) fn expect_no_answer(&mut self, node: NodeId, now: Instant) {
        let over = self.counts.left(node, now);
        self.counted(over);
    }

    fn counted(&mut self, over: impl IntoIterator<Item = (QuestionId, Tally)>) {
        let over = over.into_iter();
        let events = over.map(|(id, tally)| CoreEvent::Counted(id, tally));
        self.events.extend(events);
    }

    /// Takes a question of another node, of those that are listed, or an answer of one.
    pub(super) fn take_talk(
        &mut self,
        header: &EnvelopeHeader,
        body: &[u8],
        now: Instant,
    ) -> Result<Came, EnvelopeError> {
        let node = header.node.ok_or(EnvelopeError::Question)?;
        if header.kind == Kind::Question {
            let question = Question::decode(body)?;
            return Ok(self.take_question(node, &question, now));
        }
        let answer = Answer::decode(body)?;
        self.take_answer(node, &answer, now);
        Ok(Came::Other)
    }

    fn take_question(&mut self, by: NodeId, question: &Question<'_>, now: Instant) -> Came {
        let is_out = self.link.is_away() || self.leaving.is_some();
        if is_out || !self.nodes.is_alive(by) {
            self.counters.uninterested += 1;
            return Came::Other;
        }
        let oldest = self.outgoing.oldest();
        if !self.nodes.may_ask(by, now) || !self.answers.has_room(oldest) {
            self.counters.overrun += 1;
            return Came::Other;
        }
        let group = self.group_of(&Spelling::new(question.topic));
        let id = question.id;
        self.answers.ask(Asked { by, id, group });
        Came::Question
    }

    fn take_answer(&mut self, node: NodeId, answer: &Answer, now: Instant) {
        let Answer { id, members } = *answer;
        if !self.nodes.is_alive(node) {
            self.counters.uninterested += 1;
            return;
        }
        match self.counts.answer(id, node, members, now) {
            Heard::Counted => {}
            Heard::Last(tally) => self.counted([(id, tally)]),
            Heard::Double => self.counters.doubles += 1,
            Heard::Unasked => self.counters.uninterested += 1,
        }
    }

    /// Returns the question that [came](Came::Question): it is to be [answered](Self::answer).
    pub(crate) fn take_asked(&mut self) -> Option<Asked<G>> {
        self.answers.take()
    }

    /// Answers a question of another node.
    pub(crate) fn answer(&mut self, by: NodeId, id: QuestionId, members: usize, now: Instant) {
        let members = u32::try_from(members).unwrap_or(u32::MAX);
        let letter = Letter::answer(&Answer { id, members });
        if let Ok(ticket) = self.queue_own(&self.own.node(by), letter, now) {
            self.answers.push(ticket);
        }
    }
}
