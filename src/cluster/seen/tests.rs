#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

const fn number(run: u64, index: u32) -> Number {
    Number { run, index }
}

/// Judges an envelope of node 1, and takes it unless it is a double.
fn receive(seen: &mut Seen, run: u64, index: u32) -> Option<u64> {
    let missed = seen.judge(node(1), number(run, index))?;
    seen.take(node(1), number(run, index), 0, |_| true);
    Some(missed)
}

/// What comes in this order, and how many are missing before each; `None` is a double.
const TABLE: &[&[(u64, u32, Option<u64>)]] = &[
    // One after the other.
    &[(1, 0, Some(0)), (1, 1, Some(0)), (1, 2, Some(0))],
    // A sender that was not heard before is taken at its word.
    &[(5, 1000, Some(0)), (5, 1001, Some(0))],
    // The same again.
    &[
        (1, 0, Some(0)),
        (1, 0, None),
        (1, 1, Some(0)),
        (1, 1, None),
        (1, 0, None),
    ],
    // Some are missing, and come too late.
    &[
        (1, 0, Some(0)),
        (1, 4, Some(3)),
        (1, 1, None),
        (1, 3, None),
        (1, 5, Some(0)),
    ],
    // Another run begins.
    &[
        (1, 7, Some(0)),
        (2, 0, Some(0)),
        (2, 1, Some(0)),
        (1, 8, None),
    ],
    // Another run begins, of which the first are missing.
    &[
        (1, 7, Some(0)),
        (9, 3, Some(3)),
        (9, 2, None),
        (8, 100, None),
        (9, 4, Some(0)),
    ],
    // As many as there can be.
    &[
        (1, 0, Some(0)),
        (1, u32::MAX - 1, Some(u32::MAX as u64 - 2)),
        (1, u32::MAX - 1, None),
    ],
    &[
        (u64::MAX, 0, Some(0)),
        (u64::MAX, 0, None),
        (u64::MAX - 1, 5, None),
    ],
];

#[test]
fn doubles_are_told_from_what_is_new_and_what_is_missing_is_counted() {
    for row in TABLE {
        let mut seen = Seen::default();
        for &(run, index, expected) in *row {
            assert_eq!(
                receive(&mut seen, run, index),
                expected,
                "{run}:{index} in {row:?}"
            );
        }
    }
}

#[test]
fn senders_know_nothing_of_each_other() {
    let mut seen = Seen::default();
    for id in [5, 3, 9, 1, 7] {
        assert_eq!(seen.judge(node(id), number(id, 2)), Some(0));
        seen.take(node(id), number(id, 2), 0, |_| true);
    }
    for id in [5, 3, 9, 1, 7] {
        assert_eq!(seen.judge(node(id), number(id, 2)), None);
        assert_eq!(seen.judge(node(id), number(id, 4)), Some(1));
    }
}

#[test]
fn what_is_dropped_here_is_missing_before_the_next() {
    // The very first, one in between, the first of another run.
    let mut seen = Seen::default();
    seen.skip(node(1), number(1, 5), 0, |_| true);
    assert_eq!(receive(&mut seen, 1, 6), Some(1));
    seen.skip(node(1), number(1, 7), 0, |_| true);
    seen.skip(node(1), number(1, 8), 0, |_| true);
    assert_eq!(receive(&mut seen, 1, 9), Some(2));
    seen.skip(node(1), number(2, 0), 0, |_| true);
    seen.skip(node(1), number(2, 1), 0, |_| true);
    assert_eq!(receive(&mut seen, 1, 10), None);
    assert_eq!(receive(&mut seen, 2, 3), Some(3));
}

#[test]
fn what_was_dropped_here_may_come_again() {
    let mut seen = Seen::default();
    receive(&mut seen, 1, 0);
    seen.skip(node(1), number(1, 1), 0, |_| true);
    assert_eq!(receive(&mut seen, 1, 1), Some(0));
    assert_eq!(receive(&mut seen, 1, 1), None);
}

#[test]
fn a_topic_has_1024_senders_and_forgets_the_one_that_was_silent_for_longest() {
    let mut seen = Seen::default();
    for id in 1..=1024 {
        seen.take(node(id), number(1, 0), id as u32, |_| true);
    }
    // The first two are heard again.
    seen.take(node(1), number(1, 1), 2000, |_| true);
    seen.take(node(2), number(1, 1), 2000, |_| true);
    seen.take(node(5000), number(1, 0), 2000, |_| true);
    assert_eq!(seen.senders.len(), 1024);
    assert_eq!(
        seen.judge(node(3), number(1, 0)),
        Some(0),
        "it is forgotten"
    );
    for id in (1..=1024).filter(|id| *id != 3).chain([5000]) {
        assert_eq!(seen.judge(node(id), number(1, 0)), None, "{id} is not");
    }
}

#[test]
fn those_who_are_gone_are_forgotten_before_more_memory_is_taken() {
    let mut seen = Seen::default();
    let is_alive = |id: NodeId| id.as_u64() == 4;
    // A node is restarted every minute, for a year; one other lives all the time.
    for id in 0..525_600_u64 {
        let now = (id * 60) as u32;
        seen.take(node(4), number(1, id as u32), now, is_alive);
        seen.take(node(id + 10), number(1, 0), now, is_alive);
        assert!(seen.senders.capacity() <= 16, "{}", seen.senders.capacity());
    }
    assert_eq!(seen.judge(node(4), number(1, 525_599)), None);
}

#[test]
fn one_that_is_cut_off_for_less_than_five_minutes_is_remembered() {
    let mut seen = Seen::default();
    seen.take(node(1), number(1, 0), 0, |_| true);
    for id in 2..1000 {
        seen.take(node(id), number(1, 0), 299, |_| false);
    }
    assert_eq!(seen.judge(node(1), number(1, 3)), Some(2));
}

#[test]
fn a_sender_takes_24_bytes() {
    let mut seen = Seen::default();
    seen.take(node(1), number(1, 0), 0, |_| true);
    assert_eq!(seen.memory(), 24);
}
