#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;
use crate::cluster::backplane::{Command, Lost};
use crate::cluster::topic::TopicPrefix;

mod many;

fn topic(key: usize) -> Topic {
    let rooms = TopicPrefix::new("shop", "rooms").unwrap();
    rooms.topic(format!("room {key}").as_bytes()).unwrap()
}

/// What a node wants, told and asked.
struct Wanted {
    interest: Interest<usize>,
    start: Instant,
}

impl Wanted {
    fn new() -> Self {
        let five = Duration::from_secs(5);
        Self {
            interest: Interest::new(five, 10_000, Duration::from_secs(30)),
            start: Instant::now(),
        }
    }

    fn connected() -> Self {
        let mut wanted = Self::new();
        wanted.interest.connected();
        wanted
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    fn add(&mut self, keys: impl IntoIterator<Item = usize>) {
        for key in keys {
            self.interest.add(&topic(key), Target::Group(key));
        }
    }

    fn remove(&mut self, key: usize, millis: u64) {
        let at = self.at(millis);
        self.interest.remove(&topic(key), at);
    }

    /// Returns the next command as `+` or `-` and what it names.
    fn poll(&mut self) -> Option<(char, Vec<Topic>)> {
        Some(match self.interest.poll(self.start)? {
            Command::Subscribe(topics) => ('+', topics),
            Command::Unsubscribe(topics) => ('-', topics),
            other => unreachable!("{other:?}"),
        })
    }

    /// Returns how many topics each of the next commands names.
    fn lens(&mut self) -> Vec<(char, usize)> {
        let mut lens = Vec::new();
        while let Some((sign, topics)) = self.poll() {
            lens.push((sign, topics.len()));
        }
        lens
    }

    /// Answers all there is to be asked.
    fn subscribe_all(&mut self) {
        while let Some((sign, topics)) = self.poll() {
            if sign == '+' {
                self.answer(&topics);
            }
        }
    }

    fn answer(&mut self, topics: &[Topic]) {
        for topic in topics {
            self.interest.subscribed(topic);
        }
    }

    fn time_out(&mut self, millis: u64) {
        let at = self.at(millis);
        self.interest.handle_timeout(at);
    }
}

#[test]
fn joins_that_come_together_are_one_command() {
    let mut wanted = Wanted::connected();
    wanted.add(0..3);
    wanted.add(0..3);
    let expected = (0..3).map(topic).collect();
    assert_eq!(wanted.poll(), Some(('+', expected)));
    assert_eq!(wanted.poll(), None);
    assert_eq!(wanted.interest.wanted_len(), 3);
}

#[test]
fn a_topic_is_given_up_five_seconds_after_its_last_member() {
    let mut wanted = Wanted::connected();
    wanted.add([1]);
    wanted.subscribe_all();
    wanted.remove(1, 0);
    assert_eq!(wanted.interest.wanted_len(), 0);
    assert_eq!(wanted.interest.due(), Some(wanted.at(5000)));
    wanted.time_out(4999);
    assert_eq!(wanted.poll(), None);
    assert!(wanted.interest.is_subscribed(&topic(1)));
    wanted.time_out(5000);
    assert_eq!(wanted.poll(), Some(('-', vec![topic(1)])));
    assert_eq!(wanted.poll(), None);
    assert_eq!(wanted.interest.subscribed_len(), 0);
    assert!(wanted.interest.topics.is_empty());
}

#[test]
fn a_page_that_is_reloaded_costs_no_command() {
    let mut wanted = Wanted::connected();
    wanted.add([1]);
    wanted.subscribe_all();
    for reload in 0..1000 {
        wanted.remove(1, reload * 100);
        wanted.add([1]);
        wanted.time_out(reload * 100);
        assert_eq!(wanted.poll(), None);
    }
    wanted.time_out(1_000_000);
    assert_eq!(wanted.poll(), None, "it has a member");
    assert!(wanted.interest.lingering.len() <= CHUNK + 2);
}

#[test]
fn the_second_leaving_begins_the_five_seconds_anew() {
    let mut wanted = Wanted::connected();
    wanted.add([1]);
    wanted.subscribe_all();
    wanted.remove(1, 0);
    wanted.add([1]);
    wanted.remove(1, 3000);
    wanted.time_out(7999);
    assert_eq!(wanted.poll(), None);
    wanted.time_out(8000);
    assert_eq!(wanted.poll(), Some(('-', vec![topic(1)])));
}

#[test]
fn ten_thousand_topics_linger_and_of_more_the_oldest_goes_at_once() {
    let mut wanted = Wanted::connected();
    wanted.add(0..10_002);
    wanted.subscribe_all();
    for key in 0..10_000 {
        wanted.remove(key, 0);
    }
    assert_eq!(wanted.poll(), None);
    wanted.remove(10_000, 1);
    assert_eq!(wanted.poll(), Some(('-', vec![topic(0)])));
    // One that has members again is not among them any more.
    wanted.add([1]);
    wanted.remove(10_001, 2);
    assert_eq!(wanted.poll(), None);
    wanted.remove(1, 3);
    assert_eq!(wanted.poll(), Some(('-', vec![topic(2)])));
}

#[test]
fn one_that_is_wanted_again_before_the_engine_was_told_stays_subscribed() {
    let mut wanted = Wanted::connected();
    wanted.add([1]);
    wanted.subscribe_all();
    wanted.remove(1, 0);
    wanted.time_out(5000);
    wanted.add([1]);
    assert_eq!(wanted.poll(), None);
    assert!(wanted.interest.is_subscribed(&topic(1)));
    wanted.remove(1, 6000);
    wanted.time_out(11_000);
    assert_eq!(wanted.poll(), Some(('-', vec![topic(1)])));
    assert_eq!(wanted.poll(), None);
}

#[test]
fn one_that_nobody_was_asked_for_yet_costs_nothing() {
    let mut wanted = Wanted::connected();
    wanted.add([1]);
    wanted.remove(1, 0);
    assert_eq!(wanted.poll(), None);
    assert!(wanted.interest.topics.is_empty());
}

#[test]
fn one_whose_answer_is_due_is_given_up_once_that_is_here() {
    let mut wanted = Wanted::connected();
    wanted.add([1]);
    assert_eq!(wanted.poll(), Some(('+', vec![topic(1)])));
    wanted.remove(1, 0);
    wanted.time_out(5000);
    assert_eq!(wanted.poll(), None);
    wanted.answer(&[topic(1)]);
    assert_eq!(wanted.poll(), Some(('-', vec![topic(1)])));
}

#[test]
fn chunks_have_512_topics_and_16_are_unanswered() {
    let mut wanted = Wanted::connected();
    wanted.add(0..10_000);
    let mut chunks = Vec::new();
    while let Some((_, topics)) = wanted.poll() {
        assert_eq!(topics.len(), 512);
        chunks.push(topics);
    }
    assert_eq!(chunks.len(), 16);
    wanted.answer(&chunks[3][1..]);
    assert_eq!(wanted.poll(), None, "one of its answers is missing");
    wanted.answer(&chunks[3][..1]);
    assert_eq!(wanted.lens(), [('+', 512)]);
    wanted.answer(&chunks[3]);
    assert_eq!(wanted.poll(), None, "they have answered already");
    for chunk in &chunks {
        wanted.answer(chunk);
    }
    assert_eq!(
        wanted.lens(),
        [('+', 512), ('+', 512), ('+', 10_000 - 19 * 512)]
    );
}

#[test]
fn topics_are_given_up_by_512() {
    let mut wanted = Wanted::connected();
    wanted.add(0..1000);
    wanted.subscribe_all();
    for key in 0..1000 {
        wanted.remove(key, 0);
    }
    wanted.time_out(5000);
    assert_eq!(wanted.lens(), [('-', 512), ('-', 488)]);
}

#[test]
fn all_that_is_wanted_is_asked_for_on_each_connection_and_what_lingered_is_not() {
    let mut wanted = Wanted::new();
    wanted.add(0..600);
    wanted.interest.add(&topic(1000), Target::All);
    assert_eq!(wanted.poll(), None, "there is no connection");
    for connection in 0..3 {
        wanted.interest.connected();
        assert!(!wanted.interest.is_settled());
        let (_, first) = wanted.poll().unwrap();
        assert_eq!(first[0], topic(1000), "the node's own come first");
        assert_eq!(first.len(), 512);
        let (_, second) = wanted.poll().unwrap();
        assert_eq!(second.len(), 89 - connection);
        wanted.answer(&first);
        assert!(!wanted.interest.is_settled());
        wanted.answer(&second);
        assert!(wanted.interest.is_settled());
        assert_eq!(wanted.interest.subscribed_len(), 601 - connection);
        wanted.remove(connection, 0);
        wanted.interest.lost();
        assert_eq!(wanted.interest.subscribed_len(), 0);
        assert!(!wanted.interest.is_subscribed(&topic(5)));
    }
}

#[test]
fn who_joins_later_does_not_hold_up_the_beginning() {
    let mut wanted = Wanted::new();
    wanted.add(0..3);
    wanted.interest.connected();
    let (_, topics) = wanted.poll().unwrap();
    wanted.add(3..6);
    wanted.answer(&topics);
    assert!(wanted.interest.is_settled());
}

#[test]
fn what_is_removed_meanwhile_does_not_hold_up_the_beginning() {
    let mut wanted = Wanted::new();
    wanted.add(0..1000);
    wanted.interest.connected();
    let (_, topics) = wanted.poll().unwrap();
    for key in 0..1000 {
        wanted.remove(key, 0);
    }
    wanted.answer(&topics);
    assert!(wanted.interest.is_settled());
    assert_eq!(wanted.poll(), None);
}

#[test]
fn an_answer_of_a_connection_before_counts_for_nothing() {
    let mut wanted = Wanted::connected();
    wanted.add(0..3);
    let (_, topics) = wanted.poll().unwrap();
    wanted.interest.lost();
    wanted.answer(&topics);
    assert_eq!(wanted.interest.subscribed_len(), 0);
    wanted.interest.connected();
    assert_eq!(wanted.lens(), [('+', 3)]);
}

#[test]
fn a_refused_topic_stays_wanted_and_is_asked_for_every_30_seconds() {
    let mut wanted = Wanted::new();
    wanted.add([1, 2]);
    wanted.interest.connected();
    let (_, topics) = wanted.poll().unwrap();
    wanted
        .interest
        .unsubscribed(&topic(1), Lost::Denied, wanted.start);
    wanted.answer(&[topic(2)]);
    assert_eq!(topics.len(), 2);
    assert!(wanted.interest.is_settled(), "a refusal is an answer");
    assert_eq!(wanted.interest.due(), Some(wanted.at(30_000)));
    wanted.time_out(29_999);
    assert_eq!(wanted.poll(), None);
    wanted.time_out(30_000);
    assert_eq!(wanted.poll(), Some(('+', vec![topic(1)])));
    let at = wanted.at(30_000);
    wanted.interest.unsubscribed(&topic(1), Lost::Denied, at);
    wanted.time_out(60_000);
    assert_eq!(wanted.poll(), Some(('+', vec![topic(1)])));
    assert_eq!(wanted.interest.wanted_len(), 2);
}

#[test]
fn a_topic_that_moved_is_asked_for_at_once_and_its_senders_are_remembered() {
    let mut wanted = Wanted::connected();
    wanted.add([1]);
    wanted.subscribe_all();
    let node = crate::cluster::node_id::NodeId::new(1).unwrap();
    let number = crate::cluster::number::Number { run: 1, index: 7 };
    let entry = wanted.interest.get_mut(&topic(1)).unwrap();
    entry.seen.take(node, number, 0, |_| true);
    wanted
        .interest
        .unsubscribed(&topic(1), Lost::Moved, wanted.start);
    assert!(!wanted.interest.is_subscribed(&topic(1)));
    assert_eq!(wanted.interest.subscribed_len(), 0);
    assert_eq!(wanted.poll(), Some(('+', vec![topic(1)])));
    wanted.answer(&[topic(1)]);
    assert_eq!(wanted.interest.subscribed_len(), 1);
    let entry = wanted.interest.get_mut(&topic(1)).unwrap();
    assert_eq!(entry.seen.judge(node, number), None);
}

#[test]
fn who_waits_until_a_topic_is_subscribed_is_told_once() {
    let mut wanted = Wanted::connected();
    wanted.add([1, 2]);
    assert!(!wanted.interest.await_subscribed(&topic(1)));
    assert!(wanted.poll().is_some());
    assert!(wanted.interest.subscribed(&topic(1)));
    assert!(!wanted.interest.subscribed(&topic(1)));
    assert!(
        !wanted.interest.subscribed(&topic(2)),
        "nobody waits for it"
    );
    assert!(wanted.interest.await_subscribed(&topic(1)), "it is already");
    assert!(
        !wanted.interest.await_subscribed(&topic(3)),
        "it is not wanted"
    );
}

#[test]
fn joining_and_leaving_again_and_again_takes_no_more_memory() {
    let mut wanted = Wanted::connected();
    wanted.add([0]);
    // The engine answers nothing.
    for _ in 0..16 {
        wanted.poll();
        wanted.add([1]);
        wanted.poll();
        wanted.add([2]);
    }
    for round in 0..100_000 {
        wanted.add([7]);
        wanted.remove(7, round);
    }
    assert!(
        wanted.interest.ask.len() <= 2 * CHUNK,
        "{}",
        wanted.interest.ask.len()
    );
    for _ in 0..100_000 {
        wanted.add([8]);
        let now = wanted.start;
        wanted.interest.unsubscribed(&topic(8), Lost::Denied, now);
        wanted.remove(8, 0);
    }
    assert!(wanted.interest.denied.len() <= 2 * CHUNK);
}

#[test]
fn a_group_takes_no_more_than_300_bytes() {
    let mut wanted = Interest::<std::sync::Weak<dyn Send>>::new(Duration::ZERO, 0, Duration::ZERO);
    // Just above a power of two, where a table is emptiest.
    let count = (1 << 17) / 8 * 7 + 1;
    let node = crate::cluster::node_id::NodeId::new(1).unwrap();
    let mut bytes = 0;
    for key in 0..count {
        let topic = topic(key);
        let group = std::sync::Weak::<usize>::new();
        wanted.add(&topic, Target::Group(group));
        let entry = wanted.get_mut(&topic).unwrap();
        entry.seen.take(node, Default::default(), 0, |_| true);
        // The counts beside the bytes of a topic, and what the allocator adds to each of three.
        bytes += topic.as_bytes().len() + 16 + entry.seen.memory() + 3 * 8;
    }
    let places = (1 << 18) * (size_of::<(Topic, Box<()>)>() + 1);
    assert_eq!(wanted.topics.capacity(), (1 << 18) / 8 * 7);
    bytes += places + count * size_of::<TopicEntry<std::sync::Weak<dyn Send>>>();
    bytes += wanted.topics.row_memory();
    let each = bytes / count;
    println!("{each} bytes");
    assert!(
        each <= 300 - 75,
        "{each}: 75 are those of its number as a sender"
    );
}
