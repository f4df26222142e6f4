//! How members are counted on all nodes.

use super::*;
use crate::cluster::{
    asked::Asked,
    counts::{Asking, Tally},
    question::{Answer, Question, QuestionId},
};

/// Node 1 on a sound connection, to which nodes 2 to so many are known.
fn among(last: u64) -> Alone {
    let mut alone = Alone::ready();
    for node in 2..=last {
        heard(&mut alone, node, 0);
    }
    alone
}

/// Node 1 hears a heartbeat.
fn heard(alone: &mut Alone, node: u64, index: u32) {
    let letter = Letter::alive(&Alive {
        interval: Duration::from_secs(5),
        age: Duration::ZERO,
        load: Load::default(),
        asks: false,
        name: Box::default(),
    });
    let all = alone.core.own.all();
    alone.receive_letter(&all, node, Number { run: 1, index }, &letter);
    alone.events();
}

impl Alone {
    /// Asks how many members a group has elsewhere, which is not known.
    fn ask(&mut self, key: &str) -> QuestionId {
        let asking = self.core.ask(&topic(key), self.now);
        let Asking::Waits(id, until) = asking else {
            panic!("{asking:?}");
        };
        assert!(until <= self.now + Duration::from_secs(1));
        id
    }

    /// Takes what leaves, without heartbeats: topics and envelopes.
    fn said(&mut self) -> Vec<(Topic, Bytes)> {
        let mut said = Vec::new();
        while let Some(command) = self.core.poll_command(self.now) {
            let mut next = Some(command);
            while let Some(command) = next {
                if let Command::Publish(publish) = &command
                    && publish.head()[1] != 7
                {
                    said.push((publish.topic().clone(), envelope(publish)));
                }
                self.answer(command);
                next = self.core.poll_more();
            }
        }
        said
    }

    /// Another node answers.
    fn hears(&mut self, id: QuestionId, node: u64, members: u32) {
        let own = self.core.own.node(self.core.id);
        let letter = Letter::answer(&Answer { id, members });
        self.receive_letter(&own, node, Number::default(), &letter);
    }

    /// Another node asks.
    fn asked(&mut self, node: u64, number: u64, key: &str) -> Option<Asked<usize>> {
        let topic = topic(key);
        let letter = Letter::question(&Question {
            id: QuestionId(number),
            topic: topic.as_bytes(),
        });
        let all = self.core.own.all();
        self.receive_letter(&all, node, Number::default(), &letter);
        self.core.take_asked()
    }

    fn counted(&mut self) -> Vec<(QuestionId, Tally)> {
        let events = self.events().into_iter();
        let counted = events.filter_map(|event| match event {
            CoreEvent::Counted(id, tally) => Some((id, tally)),
            _ => None,
        });
        counted.collect()
    }
}

const fn tally(members: u64, nodes: u64, missing: u64) -> Tally {
    Tally {
        members,
        nodes,
        missing,
    }
}

#[test]
fn a_question_goes_to_all_nodes_and_the_last_answer_ends_it() {
    let mut alone = among(3);
    let id = alone.ask("a");
    let said = alone.said();
    let [(to, envelope)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(*to, alone.core.own.all());
    assert_eq!(envelope[..4], [1, 9, 0, 0]);
    assert_eq!(envelope[12..24], [0; 12], "it has no number");
    let question = Question::decode(&envelope[24..]).unwrap();
    assert_eq!((question.id, question.topic), (id, &b"shop:1:rooms:a"[..]));

    alone.hears(id, 2, 40);
    assert_eq!(alone.counted(), []);
    alone.hears(id, 3, 2);
    assert_eq!(alone.counted(), [(id, tally(42, 2, 0))]);
    // For a second they are known.
    let known = Asking::Known(tally(42, 2, 0));
    assert_eq!(alone.core.ask(&topic("a"), alone.now), known);
    alone.pass(999);
    assert_eq!(alone.core.ask(&topic("a"), alone.now), known);
    alone.pass(1);
    assert_ne!(alone.ask("a"), id);
    assert_eq!(alone.said().len(), 1);
}

#[test]
fn those_who_ask_the_same_at_once_ask_once() {
    let mut alone = among(2);
    let id = alone.ask("a");
    alone.pass(500);
    assert_eq!(alone.ask("a"), id);
    let other = alone.ask("b");
    assert_ne!(other, id);
    assert_eq!(alone.said().len(), 2);
    alone.core.end_question(id, alone.now);
    assert_eq!(alone.counted(), [(id, tally(0, 0, 1))]);
    alone.core.end_question(id, alone.now);
    assert_eq!(alone.counted(), []);
}

#[test]
fn answers_that_are_forged_or_late_are_not_counted() {
    let mut alone = among(4);
    let id = alone.ask("a");
    alone.said();
    let before = alone.core.counters();
    // Nobody has asked that.
    alone.hears(QuestionId(id.0 ^ 1), 2, 1000);
    // Nobody knows who that is.
    alone.hears(id, 5, 1000);
    // It has answered already.
    alone.hears(id, 2, 1);
    alone.hears(id, 2, 1000);
    // It came when the question had left.
    heard(&mut alone, 6, 0);
    alone.hears(id, 6, 1000);
    alone.hears(id, 3, 1);
    alone.core.end_question(id, alone.now);
    alone.hears(id, 4, 1000);
    assert_eq!(alone.counted(), [(id, tally(2, 2, 1))]);
    let after = alone.core.counters();
    assert_eq!(after.uninterested - before.uninterested, 3);
    assert_eq!(after.doubles - before.doubles, 2);
}

#[test]
fn a_node_that_leaves_is_waited_for_no_longer() {
    let mut alone = among(3);
    let id = alone.ask("a");
    alone.said();
    alone.hears(id, 2, 7);
    let all = alone.core.own.all();
    // One that comes late says nothing.
    let stale = Number { run: 1, index: 0 };
    alone.receive_letter(&all, 3, stale, &Letter::leaving());
    assert_eq!(alone.counted(), []);
    let number = Number { run: 1, index: 1 };
    alone.receive_letter(&all, 3, number, &Letter::leaving());
    assert_eq!(alone.counted(), [(id, tally(7, 1, 0))]);

    // Also one that is not heard any more.
    let mut alone = among(2);
    alone.pass(14_500);
    let id = alone.ask("a");
    alone.said();
    alone.pass(500);
    assert_eq!(alone.counted(), [(id, tally(0, 0, 0))]);
}

#[test]
fn without_a_connection_and_without_others_nobody_is_asked() {
    let mut alone = Alone::new();
    let asking = alone.core.ask(&topic("a"), alone.now);
    assert_eq!(asking, Asking::Known(tally(0, 0, 0)));
    alone.connect();
    let asking = alone.core.ask(&topic("a"), alone.now);
    assert_eq!(asking, Asking::Known(tally(0, 0, 0)));
    heard(&mut alone, 2, 0);
    heard(&mut alone, 3, 0);
    let id = alone.ask("a");
    alone.said();
    alone.hears(id, 2, 5);
    let before = alone.ask("b");
    // What has come so far is all there will be, and it is not kept.
    alone.core.lost(alone.now);
    let mut counted = alone.counted();
    counted.sort_by_key(|(_, tally)| tally.nodes);
    assert_eq!(counted, [(before, tally(0, 0, 2)), (id, tally(5, 1, 1))]);
    let asking = alone.core.ask(&topic("a"), alone.now);
    assert_eq!(asking, Asking::Known(tally(0, 0, 2)));
    alone.connect();
    alone.ask("a");
    alone.core.leave(alone.now);
    let asking = alone.core.ask(&topic("b"), alone.now);
    assert_eq!(asking, Asking::Known(tally(0, 0, 2)));
}

#[test]
fn what_is_asked_before_envelopes_leave_is_asked_then() {
    let mut alone = Alone::new();
    alone.core.connected(alone.now);
    alone.subscribe();
    let id = alone.ask("a");
    assert_eq!(alone.said(), []);
    heard(&mut alone, 2, 0);
    alone.pass(250);
    assert_eq!(alone.said().len(), 1);
    alone.hears(id, 2, 3);
    assert_eq!(alone.counted(), [(id, tally(3, 1, 0))]);

    // If there is nobody then, that is the answer.
    let mut alone = Alone::new();
    alone.core.connected(alone.now);
    alone.subscribe();
    let id = alone.ask("a");
    alone.pass(250);
    assert_eq!(alone.said(), []);
    assert_eq!(alone.counted(), [(id, tally(0, 0, 0))]);
}

#[test]
fn a_question_that_the_queue_does_not_take_is_answered_by_nobody() {
    let settings = ClusterSettings {
        max_queued: 1,
        ..ClusterSettings::default()
    };
    let mut alone = Alone::with(settings, promises());
    alone.connect();
    heard(&mut alone, 2, 0);
    alone.publish("a", "first");
    let unheard = Asking::Known(tally(0, 0, 1));
    assert_eq!(alone.core.ask(&topic("a"), alone.now), unheard);
    assert_eq!(alone.core.counters().refused.full, 1);
    alone.said();
    alone.ask("a");
}

#[test]
fn a_thousand_questions_leave_in_a_second() {
    let mut alone = among(2);
    for number in 0..1024 {
        let id = alone.ask(&number.to_string());
        // Also if nobody waits for the answers.
        alone.core.forget_question(id);
    }
    let unheard = Asking::Known(tally(0, 0, 1));
    assert_eq!(alone.core.ask(&topic("a"), alone.now), unheard);
    assert_eq!(alone.said().len(), 1024);
    alone.pass(1000);
    alone.ask("a");
}

#[test]
fn live_nodes_are_answered_whoever_has_members_here_or_not() {
    let mut alone = among(2);
    alone.core.add_interest(&topic("a"), 42);
    let asked = alone.asked(2, 77, "a").unwrap();
    assert_eq!(
        (asked.by, asked.id, asked.group),
        (id(2), QuestionId(77), Some(42))
    );
    alone.core.answer(asked.by, asked.id, 42, alone.now);
    let asked = alone.asked(2, 78, "b").unwrap();
    assert_eq!(asked.group, None);
    alone.core.answer(asked.by, asked.id, usize::MAX, alone.now);
    let said = alone.said();
    let to = alone.core.own.node(id(2));
    let [(first, one), (second, other)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!([first, second], [&to, &to]);
    assert_eq!(one[..4], [1, 10, 0, 0]);
    let answers = [one, other].map(|envelope| Answer::decode(&envelope[24..]).unwrap());
    let expected = [(77, 42), (78, u32::MAX)].map(|(id, members)| Answer {
        id: QuestionId(id),
        members,
    });
    assert_eq!(answers, expected);
}

#[test]
fn nobody_is_answered_who_is_no_live_node() {
    let mut alone = among(2);
    alone.core.add_interest(&topic("a"), 42);
    assert!(alone.asked(3, 1, "a").is_none());
    let all = alone.core.own.all();
    let number = Number { run: 1, index: 1 };
    alone.receive_letter(&all, 2, number, &Letter::leaving());
    assert!(alone.asked(2, 2, "a").is_none());
    assert_eq!(alone.core.counters().uninterested, 2);
    // Nor by a node that leaves itself, or has no connection.
    heard(&mut alone, 2, 2);
    assert!(alone.asked(2, 3, "a").is_some());
    alone.core.leave(alone.now);
    assert!(alone.asked(2, 4, "a").is_none());
    let mut alone = among(2);
    alone.core.lost(alone.now);
    assert!(alone.asked(2, 5, "a").is_none());
}

#[test]
fn no_node_asks_more_than_it_may_and_others_are_answered() {
    let mut alone = among(3);
    for number in 0..2048 {
        assert!(alone.asked(2, number, "a").is_some());
    }
    assert!(alone.asked(2, 9000, "a").is_none());
    assert_eq!(alone.core.counters().overrun, 1);
    assert!(alone.asked(3, 1, "a").is_some());
    alone.pass(1000);
    assert!(alone.asked(2, 9001, "a").is_some());
}

#[test]
fn answers_that_wait_are_a_small_part_of_the_queue() {
    let settings = ClusterSettings {
        max_queued: 160,
        ..ClusterSettings::default()
    };
    let mut alone = Alone::with(settings, promises());
    alone.connect();
    heard(&mut alone, 2, 0);
    alone.publish("a", "first");
    let mut answered = 0;
    for number in 0..100 {
        if let Some(asked) = alone.asked(2, number, "a") {
            answered += 1;
            alone.core.answer(asked.by, asked.id, 1, alone.now);
        }
    }
    assert_eq!(answered, 10);
    assert_eq!(alone.core.counters().overrun, 90);
    assert_eq!(alone.publish("a", "second"), Remote::Queued);
    // They have left, and the engine has them.
    assert_eq!(alone.said().len(), 12);
    assert!(alone.asked(2, 200, "a").is_some());
}

#[test]
fn no_topic_of_a_node_is_a_group() {
    let mut alone = among(2);
    for topic in [alone.core.own.all(), alone.core.own.node(id(1))] {
        assert_eq!(alone.core.group(&topic), None);
        let question = Question {
            id: QuestionId(1),
            topic: topic.as_bytes(),
        };
        let letter = Letter::question(&question);
        let all = alone.core.own.all();
        alone.receive_letter(&all, 2, Number::default(), &letter);
        assert_eq!(alone.core.take_asked().unwrap().group, None);
    }
}

#[test]
fn questions_come_to_all_and_answers_to_one_and_each_has_a_sender() {
    let mut alone = among(2);
    alone.core.add_interest(&topic("a"), 42);
    let asked = topic("a");
    let question = Letter::question(&Question {
        id: QuestionId(1),
        topic: asked.as_bytes(),
    });
    let answer = Letter::answer(&Answer {
        id: QuestionId(1),
        members: 1,
    });
    let (all, own) = (alone.core.own.all(), alone.core.own.node(id(1)));
    let wrong = [(&all, &answer), (&own, &question)];
    let wrong = wrong
        .into_iter()
        .chain([(&asked, &answer), (&asked, &question)]);
    for (topic, letter) in wrong {
        alone.receive_letter(topic, 2, Number::default(), letter);
        assert!(alone.core.take_asked().is_none());
    }
    assert_eq!(alone.core.counters().malformed.misplaced, 4);
    for (topic, kind) in [(&all, 9), (&own, 10)] {
        let outside = [&[1, kind][..], &[0; 22], &[0; 12]].concat();
        alone
            .core
            .receive(topic.as_bytes(), &outside.into(), || alone.now);
        let short = [&[1, kind, 0, 0, 2][..], &[0; 19], &[0; 9]].concat();
        alone
            .core
            .receive(topic.as_bytes(), &short.into(), || alone.now);
    }
    assert_eq!(alone.core.counters().malformed.question, 4);
    assert!(alone.core.take_asked().is_none());
}
