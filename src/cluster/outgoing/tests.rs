#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;
use crate::{
    cluster::{envelope::Carried, topic::TopicPrefix},
    protocol::Message,
};

const EMPTY: usize = 24;

struct Queue {
    outgoing: EngineQueue,
    settings: ClusterSettings,
    topic: Topic,
    start: Instant,
    pushed: u32,
}

impl Queue {
    fn new() -> Self {
        let rooms = TopicPrefix::new("shop", "rooms").unwrap();
        Self {
            outgoing: EngineQueue::default(),
            settings: ClusterSettings::default(),
            topic: rooms.topic(b"lobby").unwrap(),
            start: Instant::now(),
            pushed: 0,
        }
    }

    fn push_many(&mut self, count: usize, len: usize) {
        for _ in 0..count {
            self.push(len, 0);
        }
    }

    /// Queues an envelope of `len` bytes `millis` after the start.
    fn push(&mut self, len: usize, millis: u64) -> Ticket {
        let payload = vec![0; len - EMPTY];
        let letter = Letter::from(&Carried::Message(Message::binary(payload).into()));
        assert_eq!(letter.len(), len);
        let number = Number {
            run: 1,
            index: self.pushed,
        };
        self.pushed += 1;
        let at = self.at(millis);
        self.outgoing.push(&self.topic, letter, number, false, at)
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    /// Takes one batch: the tickets in it.
    fn batch(&mut self) -> Vec<Ticket> {
        let node = NodeId::new(1).unwrap();
        let first = self.outgoing.begin(node, self.start);
        let mut batch: Vec<_> = first.into_iter().map(|publish| publish.ticket).collect();
        while let Some(more) = self.outgoing.more(node) {
            batch.push(more.ticket);
        }
        batch
    }

    fn batches(&mut self) -> Vec<usize> {
        let mut batches = Vec::new();
        loop {
            match self.batch().len() {
                0 => return batches,
                len => batches.push(len),
            }
        }
    }

    fn answer(&mut self, ticket: Ticket) -> bool {
        let answered = self.outgoing.answered(ticket, &mut Waste::default());
        answered.is_some()
    }

    fn has_room(&self, len: usize) -> bool {
        self.outgoing.has_room(len, &self.settings)
    }
}

#[test]
fn queue_takes_8_mib_and_no_byte_more() {
    let mut queue = Queue::new();
    queue.push_many(8, 1 << 20);
    assert_eq!(queue.outgoing.bytes(), 8 << 20);
    assert!(!queue.has_room(1));
    queue.outgoing.give_up(&mut Waste::default());
    assert!(queue.has_room(1 << 20));
    assert!(!queue.has_room((1 << 20) + 1));
}

#[test]
fn queue_takes_65536_envelopes_and_no_more() {
    let mut queue = Queue::new();
    queue.push_many(65_535, EMPTY);
    assert!(queue.has_room(EMPTY));
    queue.push_many(1, EMPTY);
    assert!(!queue.has_room(EMPTY));
}

#[test]
fn what_is_unanswered_counts_as_queued() {
    let mut queue = Queue::new();
    queue.push_many(8, 1 << 20);
    let batch = queue.batch();
    assert!(!queue.has_room(1));
    assert!(queue.answer(batch[0]));
    assert!(queue.has_room(1));
}

#[test]
fn a_batch_has_256_envelopes_and_4_batches_are_unanswered() {
    let mut queue = Queue::new();
    queue.push_many(2000, EMPTY);
    assert_eq!(queue.batches(), [256; 4]);
    assert_eq!(queue.outgoing.in_flight(), 1024);
}

#[test]
fn a_batch_has_256_kib_or_one_envelope_that_is_larger() {
    let kib = 1 << 10;
    let mut queue = Queue::new();
    queue.push_many(5, 128 * kib);
    assert_eq!(queue.batches(), [2, 2, 1]);

    let mut queue = Queue::new();
    queue.push(256 * kib + 1, 0);
    queue.push(EMPTY, 0);
    assert_eq!(queue.batches(), [1, 1]);
}

#[test]
fn unanswered_is_1_mib_or_one_envelope_that_is_larger() {
    let mib = 1 << 20;
    let mut queue = Queue::new();
    queue.push(mib / 2, 0);
    queue.push(mib / 2, 0);
    queue.push(EMPTY, 0);
    assert_eq!(queue.batches(), [1, 1]);

    let mut queue = Queue::new();
    queue.push(mib + 32, 0);
    queue.push(EMPTY, 0);
    assert_eq!(queue.batches(), [1]);
}

#[test]
fn the_next_batch_leaves_when_one_is_answered_whole() {
    let mut queue = Queue::new();
    queue.push_many(2000, EMPTY);
    let first = queue.batch();
    assert_eq!(queue.batches(), [256; 3]);
    for ticket in &first[..255] {
        assert!(queue.answer(*ticket));
        assert_eq!(queue.batches(), Vec::<usize>::new());
    }
    assert!(queue.answer(first[255]));
    assert_eq!(queue.batches(), [256]);
}

#[test]
fn batches_may_be_answered_in_any_order() {
    let mut queue = Queue::new();
    queue.push_many(2000, EMPTY);
    let batches: Vec<_> = (0..4).map(|_| queue.batch()).collect();
    for (batch, next) in batches.iter().rev().zip([256, 256, 256, 208]) {
        for ticket in batch.iter().rev() {
            assert!(queue.answer(*ticket));
        }
        assert_eq!(queue.batch().len(), next);
    }
}

#[test]
fn an_answer_counts_once() {
    let mut queue = Queue::new();
    queue.push_many(3, EMPTY);
    let batch = queue.batch();
    assert!(queue.answer(batch[1]));
    assert!(!queue.answer(batch[1]));
    assert!(!queue.answer(Ticket(99)));
    assert_eq!(queue.outgoing.in_flight(), 2);
    assert_eq!(queue.outgoing.bytes(), 2 * EMPTY);
}

#[test]
fn answers_that_come_while_a_batch_grows_end_it_not() {
    let mut queue = Queue::new();
    queue.push_many(300, EMPTY);
    let node = NodeId::new(1).unwrap();
    let mut len = 0;
    let mut next = queue.outgoing.begin(node, queue.start);
    while let Some(publish) = next {
        len += 1;
        queue.answer(publish.ticket);
        next = queue.outgoing.more(node);
    }
    assert_eq!(len, 256);
    assert_eq!(queue.outgoing.unanswered_since(), None);
    assert_eq!(queue.batches(), [44]);
}

#[test]
fn what_was_in_flight_is_sent_first_and_in_its_order_on_the_next_connection() {
    let mut queue = Queue::new();
    queue.push_many(600, EMPTY);
    let sent = [queue.batch(), queue.batch()].concat();
    // Some were answered, out of order.
    for ticket in [sent[0], sent[7], sent[300]] {
        assert!(queue.answer(ticket));
    }
    queue.outgoing.lost();
    assert_eq!(queue.outgoing.in_flight(), 0);
    queue.push_many(1, EMPTY);
    let mut again = Vec::new();
    loop {
        let batch = queue.batch();
        if batch.is_empty() {
            break;
        }
        again.extend(batch);
    }
    let rest = (1..=601).map(Ticket);
    let expected: Vec<_> = rest
        .filter(|ticket| ![sent[0], sent[7], sent[300]].contains(ticket))
        .collect();
    assert_eq!(again, expected);
}

#[test]
fn a_retry_has_the_number_and_the_bytes_of_the_first_time() {
    let mut queue = Queue::new();
    let node = NodeId::new(1).unwrap();
    queue.push(100, 0);
    let first = queue.outgoing.begin(node, queue.start).unwrap();
    queue.outgoing.lost();
    let second = queue.outgoing.begin(node, queue.start).unwrap();
    assert_eq!(first.head(), second.head());
    assert_eq!(first.payload().as_ptr(), second.payload().as_ptr());
}

#[test]
fn what_has_waited_for_five_seconds_expires_and_what_is_unanswered_does_not() {
    let mut queue = Queue::new();
    let five = Duration::from_secs(5);
    queue.push(EMPTY, 0);
    queue.batch();
    queue.push(EMPTY, 0);
    queue.push(EMPTY, 1);
    let mut waste = Waste::default();
    let mut expire = |queue: &mut Queue, millis| {
        let at = queue.at(millis);
        let gone = queue.outgoing.expire(at, five, &mut waste);
        gone.map(|gone| gone.ticket)
    };
    assert_eq!(expire(&mut queue, 4999), None);
    assert_eq!(expire(&mut queue, 5000), Some(Ticket(2)));
    assert_eq!(expire(&mut queue, 5000), None);
    assert_eq!(expire(&mut queue, 5001), Some(Ticket(3)));
    assert_eq!(expire(&mut queue, 60_000), None);
    // Once it has to be sent again, it is as old as it is.
    queue.outgoing.lost();
    assert_eq!(expire(&mut queue, 5000), Some(Ticket(1)));
    assert!(queue.outgoing.is_empty() && queue.outgoing.bytes() == 0);
}

#[test]
fn payloads_are_left_to_be_dropped_elsewhere() {
    let mut queue = Queue::new();
    queue.push_many(3, 100);
    let batch = queue.batch();
    let mut waste = Waste::default();
    queue.outgoing.answered(batch[0], &mut waste);
    assert_eq!(waste.payloads.len(), 1);
    queue.outgoing.lost();
    while queue.outgoing.give_up(&mut waste).is_some() {}
    assert_eq!(waste.payloads.len(), 3);
    assert!(waste.payloads.iter().all(|payload| payload.len() == 76));
}
