//! What the server has not answered.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::cluster::{backplane::Ticket, topic::Topic};

/// What the server has not answered, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Questions {
    unanswered: VecDeque<(u64, Question)>,
    /// The number of the last one.
    last: u64,
    /// How many of those that are unanswered are about subscriptions.
    subscribing: usize,
}

/// Topics of which was said within the last second that they are subscribed: what the server refused takes
/// another way through the client than its answers, and may be heard after them.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(Instant, Vec<Topic>)>);

impl Recent {
    pub(super) fn push(&mut self, topics: Vec<Topic>, now: Instant) {
        self.forget(now);
        self.0.push_back((now, topics));
    }

    pub(super) fn contains(&mut self, topic: &Topic, now: Instant) -> bool {
        self.forget(now);
        self.0.iter().any(|(_, topics)| topics.contains(topic))
    }

    /// Takes all of them, the oldest first.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Topic> {
        self.forget(now);
        self.0.drain(..).flat_map(|(_, topics)| topics).collect()
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |since: Instant| now.saturating_duration_since(since) > RECENT;
        while self.0.front().is_some_and(|(since, _)| is_old(*since)) {
            self.0.pop_front();
        }
    }
}

const RECENT: Duration = Duration::from_secs(1);

/// What is known once the server answers.
#[derive(Debug)]
pub(super) enum Question {
    Published {
        batch: Vec<(Ticket, Topic)>,
        /// How much had been heard besides before it was published.
        heard: u64,
    },
    Subscribed {
        topics: Vec<Topic>,
        /// How much had been heard besides when it was asked.
        heard: u64,
    },
}

impl Questions {
    /// Notes a question, and returns its number.
    pub(super) fn push(&mut self, question: Question) -> u64 {
        self.last += 1;
        self.subscribing += usize::from(matches!(question, Question::Subscribed { .. }));
        self.unanswered.push_back((self.last, question));
        self.last
    }

    /// Takes the next question that the answer to this one answers: all up to it.
    pub(super) fn answered(&mut self, number: u64) -> Option<Question> {
        let (oldest, _) = self.unanswered.front()?;
        if *oldest > number {
            return None;
        }
        let (_, question) = self.unanswered.pop_front()?;
        self.subscribing -= usize::from(matches!(question, Question::Subscribed { .. }));
        Some(question)
    }

    /// Takes the tickets of all that was published to `topic`.
    pub(super) fn take(&mut self, topic: &[u8]) -> Vec<Ticket> {
        let mut taken = Vec::new();
        for (_, question) in &mut self.unanswered {
            if let Question::Published { batch, .. } = question {
                let refused = batch.extract_if(.., |(_, to)| to.as_bytes() == topic);
                taken.extend(refused.map(|(ticket, _)| ticket));
            }
        }
        taken
    }

    /// Takes the topics of all questions about subscriptions, in that order: they are answered without.
    pub(super) fn take_subscribing(&mut self) -> Vec<Topic> {
        let mut taken = Vec::new();
        for (_, question) in &mut self.unanswered {
            if let Question::Subscribed { topics, .. } = question {
                taken.append(topics);
            }
        }
        taken
    }

    /// Reports whether a question about the subscription to `topic` is unanswered.
    pub(super) fn asks_for(&self, topic: &Topic) -> bool {
        let mut questions = self.unanswered.iter();
        questions.any(|(_, question)| match question {
            Question::Subscribed { topics, .. } => topics.contains(topic),
            Question::Published { .. } => false,
        })
    }

    /// Returns how many questions about subscriptions are unanswered.
    pub(super) fn subscribing(&self) -> usize {
        self.subscribing
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;
    use crate::cluster::topic::TopicPrefix;

    fn topic(key: &str) -> Topic {
        let prefix = TopicPrefix::new("shop", "rooms").unwrap();
        prefix.topic(key.as_bytes()).unwrap()
    }

    fn published(tickets: &[(u64, &str)]) -> Question {
        let tickets = tickets
            .iter()
            .map(|(ticket, key)| (Ticket(*ticket), topic(key)));
        Question::Published {
            batch: tickets.collect(),
            heard: 0,
        }
    }

    fn answered(questions: &mut Questions, number: u64) -> Vec<String> {
        let answered = std::iter::from_fn(|| questions.answered(number));
        answered
            .map(|question| match question {
                Question::Published { batch, .. } => {
                    let tickets: Vec<_> = batch.iter().map(|(ticket, _)| ticket.0).collect();
                    format!("{tickets:?}")
                }
                Question::Subscribed { topics, .. } => format!("{topics:?}"),
            })
            .collect()
    }

    #[test]
    fn answer_answers_all_that_was_asked_before_and_nothing_behind_it() {
        let mut questions = Questions::default();
        let first = questions.push(published(&[(1, "a"), (2, "b")]));
        questions.push(Question::Subscribed {
            topics: vec![topic("a")],
            heard: 0,
        });
        let third = questions.push(published(&[(3, "a")]));
        questions.push(published(&[(4, "a")]));
        assert_eq!(answered(&mut questions, first), ["[1, 2]"]);
        assert_eq!(questions.subscribing(), 1);
        // One that comes twice, as when a stream of JetStream answers, too.
        assert!(answered(&mut questions, first).is_empty());
        assert_eq!(
            answered(&mut questions, third),
            ["[Topic(shop:1:rooms:a)]", "[3]"]
        );
        assert_eq!(questions.subscribing(), 0);
    }

    #[test]
    fn topics_are_taken_out_of_questions_that_stay() {
        let mut questions = Questions::default();
        let subscribed = |keys: &[&str]| Question::Subscribed {
            topics: keys.iter().map(|key| topic(key)).collect(),
            heard: 0,
        };
        questions.push(subscribed(&["a", "b"]));
        questions.push(published(&[(1, "a")]));
        let last = questions.push(subscribed(&["c"]));
        assert!(questions.asks_for(&topic("b")) && questions.asks_for(&topic("c")));
        assert_eq!(
            questions.take_subscribing(),
            [topic("a"), topic("b"), topic("c")]
        );
        assert!(questions.take_subscribing().is_empty());
        assert!(!questions.asks_for(&topic("a")));
        assert_eq!(questions.subscribing(), 2);
        assert_eq!(answered(&mut questions, last), ["[]", "[1]", "[]"]);
    }

    #[test]
    fn what_was_answered_is_known_for_a_second() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        recent.push(vec![topic("a")], start);
        recent.push(vec![topic("b")], start + RECENT);
        assert!(recent.contains(&topic("a"), start + RECENT));
        let later = start + RECENT + Duration::from_millis(1);
        assert!(!recent.contains(&topic("a"), later));
        assert!(recent.contains(&topic("b"), later));
        assert_eq!(recent.take(later), [topic("b")]);
        assert!(recent.take(later).is_empty());
    }

    #[test]
    fn what_is_refused_is_taken_out_of_every_question() {
        let mut questions = Questions::default();
        questions.push(published(&[(1, "a"), (2, "b"), (3, "a")]));
        let second = questions.push(published(&[(4, "a")]));
        assert_eq!(
            questions.take(topic("a").as_bytes()),
            [Ticket(1), Ticket(3), Ticket(4)]
        );
        assert_eq!(answered(&mut questions, second), ["[2]", "[]"]);
    }
}
