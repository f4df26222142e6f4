#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;
use crate::cluster::topic::TopicPrefix;

fn topic(key: &str) -> Topic {
    let rooms = TopicPrefix::new("shop", "rooms").unwrap();
    rooms.topic(key.as_bytes()).unwrap()
}

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

const fn id(number: u64) -> QuestionId {
    QuestionId(number)
}

/// Nodes 2 to so many.
fn nodes(last: u64) -> HashSet<NodeId> {
    (2..=last).map(node).collect()
}

const fn tally(members: u64, nodes: u64, missing: u64) -> Tally {
    Tally {
        members,
        nodes,
        missing,
    }
}

/// Question 1 about a group, which has left to nodes 2 to so many.
fn asked(last: u64, now: Instant) -> Counts {
    let mut counts = Counts::default();
    ask(&mut counts, "a", 1, last, now);
    counts
}

fn ask(counts: &mut Counts, key: &str, number: u64, last: u64, now: Instant) {
    let asking = counts.begin(&topic(key), id(number), nodes(last), now);
    assert_eq!(asking, Asking::Waits(id(number), now + WAITS));
    counts.sent(&topic(key));
}

impl Counts {
    fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.running.is_empty()
    }
}

#[test]
fn each_node_is_counted_once_and_nobody_else() {
    let now = Instant::now();
    let mut counts = asked(4, now);
    assert_eq!(counts.answer(id(1), node(3), 5, now), Heard::Counted);
    assert_eq!(counts.answer(id(1), node(3), 5, now), Heard::Double);
    assert_eq!(counts.answer(id(1), node(9), 7, now), Heard::Double);
    assert_eq!(counts.answer(id(2), node(2), 7, now), Heard::Unasked);
    assert_eq!(counts.answer(id(1), node(2), 0, now), Heard::Counted);
    let last = Heard::Last(tally(5 + u64::from(u32::MAX), 3, 0));
    assert_eq!(counts.answer(id(1), node(4), u32::MAX, now), last);
    assert_eq!(counts.answer(id(1), node(4), 1, now), Heard::Unasked);
}

#[test]
fn who_asks_while_it_runs_waits_for_the_same_and_a_second_long_has_the_answers() {
    let start = Instant::now();
    let mut counts = asked(2, start);
    let waits = Asking::Waits(id(1), start + Duration::from_secs(1));
    let mut now = start + Duration::from_millis(500);
    assert_eq!(counts.find(&topic("a"), now), Some(waits));
    assert_eq!(counts.find(&topic("b"), now), None);
    counts.answer(id(1), node(2), 3, now);
    let known = Some(Asking::Known(tally(3, 1, 0)));
    for _ in 0..2 {
        assert!(counts.handle_timeout(now).is_empty());
        assert_eq!(counts.find(&topic("a"), now), known);
        now += Duration::from_millis(999);
    }
    now = start + Duration::from_millis(1500);
    assert_eq!(counts.find(&topic("a"), now), None);
    assert!(!counts.is_empty());
    assert!(counts.handle_timeout(now).is_empty());
    assert!(counts.is_empty() && counts.ends.is_empty());
}

#[test]
fn who_has_not_answered_is_missing() {
    let now = Instant::now();
    let mut counts = asked(5, now);
    counts.answer(id(1), node(2), 3, now);
    assert_eq!(counts.end(id(1), now), Some(tally(3, 1, 3)));
    assert_eq!(counts.end(id(1), now), None);
    let late = counts.answer(id(1), node(3), 9, now);
    assert_eq!(late, Heard::Unasked);
    let known = Asking::Known(tally(3, 1, 3));
    assert_eq!(counts.find(&topic("a"), now), Some(known));
}

#[test]
fn nobody_waits_for_who_has_left_and_what_it_said_counts() {
    let now = Instant::now();
    let mut counts = asked(4, now);
    ask(&mut counts, "b", 2, 3, now);
    counts.answer(id(1), node(2), 3, now);
    assert!(counts.left(node(3), now).is_empty(), "2 has not answered b");
    counts.answer(id(2), node(2), 1, now);
    assert_eq!(counts.left(node(4), now), [(id(1), tally(3, 1, 0))]);
    assert!(counts.left(node(4), now).is_empty());
}

#[test]
fn what_has_not_left_yet_is_not_over_when_nodes_leave_and_is_answered_by_nobody() {
    let now = Instant::now();
    let mut counts = Counts::default();
    counts.begin(&topic("a"), id(1), nodes(3), now);
    assert_eq!(counts.answer(id(1), node(3), 9, now), Heard::Unasked);
    assert!(counts.left(node(2), now).is_empty());
    assert_eq!(counts.unsent(), [(topic("a"), id(1))]);
    assert_eq!(counts.end(id(1), now), Some(tally(0, 0, 1)));
    assert!(counts.unsent().is_empty());

    counts.begin(&topic("b"), id(2), nodes(2), now);
    assert!(counts.left(node(2), now).is_empty());
    counts.expect(&topic("b"), nodes(4));
    counts.sent(&topic("b"));
    assert!(counts.unsent().is_empty());
    counts.answer(id(2), node(4), 1, now);
    assert_eq!(counts.end(id(2), now), Some(tally(1, 1, 2)));
}

#[test]
fn a_question_that_nobody_ends_is_over_after_a_second_and_its_answers_are_no_older_than_two() {
    let start = Instant::now();
    let mut counts = asked(3, start);
    ask(&mut counts, "b", 2, 3, start);
    let late = start + Duration::from_millis(1500);
    let over = counts.handle_timeout(late);
    assert_eq!(over, [(id(1), tally(0, 0, 2)), (id(2), tally(0, 0, 2))]);
    let known = Some(Asking::Known(tally(0, 0, 2)));
    assert_eq!(counts.find(&topic("a"), late), known);
    let later = start + Duration::from_secs(2);
    assert_eq!(counts.find(&topic("a"), later), None);
    // It is asked anew before the old answers are forgotten.
    ask(&mut counts, "a", 3, 3, later);
    assert!(counts.handle_timeout(later).is_empty());
    assert_eq!(counts.topics.len(), 1);
    let end = later + Duration::from_secs(9);
    assert_eq!(counts.handle_timeout(end), [(id(3), tally(0, 0, 2))]);
    assert!(counts.is_empty() && counts.ends.is_empty());
}

#[test]
fn nothing_is_left_of_what_nobody_waits_for_and_nothing_is_kept_without_a_connection() {
    let now = Instant::now();
    let mut counts = asked(3, now);
    counts.forget(id(1));
    assert!(counts.is_empty());
    ask(&mut counts, "a", 2, 3, now);
    ask(&mut counts, "b", 3, 3, now);
    counts.answer(id(2), node(2), 5, now);
    counts.end(id(3), now);
    counts.forget(id(3));
    assert_eq!(counts.end_all(), [(id(2), tally(5, 1, 1))]);
    assert_eq!(counts.find(&topic("a"), now), None);
    let known = Asking::Known(tally(0, 0, 2));
    assert_eq!(counts.find(&topic("b"), now), Some(known), "it was over");
}

#[test]
fn what_was_asked_in_vain_leaves_nothing_behind() {
    let mut now = Instant::now();
    let mut counts = Counts::default();
    for number in 0..10_000 {
        ask(&mut counts, "a", number, 3, now);
        counts.forget(id(number));
        now += Duration::from_millis(1);
        assert!(counts.handle_timeout(now).is_empty());
        assert!(counts.ends.len() <= 1000);
    }
    assert!(counts.is_empty());
}

#[test]
fn a_thousand_questions_are_asked_in_a_second() {
    let now = Instant::now();
    let mut counts = Counts::default();
    for _ in 0..1024 {
        assert!(counts.may_ask(now));
    }
    assert!(!counts.may_ask(now));
    assert!(counts.may_ask(now + Duration::from_secs(1)));
}
