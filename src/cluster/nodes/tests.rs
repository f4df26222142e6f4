#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;
use crate::cluster::alive::Load;

fn id(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn number(index: u32) -> Number {
    Number { run: 1, index }
}

fn beat(connections: u32) -> Alive {
    Alive {
        interval: Duration::from_secs(5),
        age: Duration::from_secs(60),
        load: Load {
            connections,
            groups: 3,
            draining: false,
        },
        asks: false,
        name: "a".into(),
    }
}

struct Known {
    nodes: Nodes,
    start: Instant,
}

impl Known {
    fn new() -> Self {
        Self {
            nodes: Nodes::new(1000),
            start: Instant::now(),
        }
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    /// Reports whether a heartbeat is the first of a node.
    fn joins(&mut self, node: u64, index: u32, millis: u64) -> bool {
        let at = self.at(millis);
        let event = self.nodes.alive(id(node), number(index), beat(10), at);
        match event {
            Some(CoreEvent::NodeJoined(joined)) => joined == id(node),
            None => false,
            other => unreachable!("{other:?}"),
        }
    }

    fn leaves(&mut self, node: u64, index: u32, millis: u64) -> bool {
        let at = self.at(millis);
        let event = self.nodes.leaving(id(node), number(index), at);
        matches!(event, Some(CoreEvent::NodeLeft(left)) if left == id(node))
    }

    fn time_out(&mut self, millis: u64) -> Vec<NodeId> {
        let at = self.at(millis);
        self.nodes.handle_timeout(at)
    }
}

#[test]
fn a_node_joins_with_its_first_heartbeat() {
    let mut known = Known::new();
    assert!(known.joins(1, 0, 0));
    assert!(!known.joins(1, 1, 5000));
    assert!(known.joins(2, 0, 5000));
    assert_eq!((known.nodes.len(), known.nodes.connections()), (2, 20));
    assert!(known.nodes.is_alive(id(1)) && !known.nodes.is_alive(id(3)));
}

#[test]
fn a_node_that_is_not_heard_for_three_of_its_own_intervals_has_left() {
    let mut known = Known::new();
    known.joins(1, 0, 0);
    let slow = Alive {
        interval: Duration::from_secs(20),
        ..beat(1)
    };
    known.nodes.alive(id(2), number(0), slow, known.start);
    assert_eq!(known.nodes.due(), Some(known.at(15_000)));
    assert_eq!(known.time_out(14_999), []);
    assert_eq!(known.time_out(15_000), [id(1)]);
    assert_eq!(known.nodes.len(), 1);
    assert_eq!(known.time_out(59_999), []);
    assert_eq!(known.time_out(60_000), [id(2)]);
    assert_eq!((known.nodes.len(), known.nodes.connections()), (0, 0));
    // Nothing of them is left after a minute.
    assert_eq!(known.time_out(120_000), []);
    assert_eq!((known.nodes.known.len(), known.nodes.due()), (0, None));
}

#[test]
fn each_heartbeat_gives_three_intervals_more() {
    let mut known = Known::new();
    for index in 0..10 {
        known.joins(1, index, u64::from(index) * 14_000);
        assert_eq!(known.time_out(u64::from(index) * 14_000), []);
    }
    assert_eq!(known.time_out(9 * 14_000 + 14_999), []);
    assert_eq!(known.time_out(9 * 14_000 + 15_000), [id(1)]);
}

#[test]
fn a_node_that_says_so_leaves_at_once_and_no_late_heartbeat_brings_it_back() {
    let mut known = Known::new();
    known.joins(1, 0, 0);
    assert!(known.leaves(1, 7, 100));
    assert!(!known.leaves(1, 7, 100), "it has left");
    assert!(!known.leaves(2, 7, 100), "it was never here");
    assert!(!known.joins(1, 6, 200));
    assert_eq!((known.nodes.len(), known.nodes.connections()), (0, 0));
    // One that lives on, because somebody else said that it leaves, is back with its next.
    assert!(known.joins(1, 8, 5000));
    assert_eq!((known.nodes.len(), known.nodes.connections()), (1, 10));
}

#[test]
fn a_heartbeat_that_comes_twice_or_late_changes_nothing() {
    let mut known = Known::new();
    known.joins(1, 5, 0);
    let late = known.at(10_000);
    known.nodes.alive(id(1), number(5), beat(99), late);
    known.nodes.alive(id(1), number(4), beat(99), late);
    assert!(!known.leaves(1, 5, 10_000));
    assert_eq!(known.nodes.connections(), 10);
    assert_eq!(known.time_out(15_000), [id(1)]);
}

#[test]
fn a_node_is_listed_as_its_last_heartbeat_has_it() {
    let mut known = Known::new();
    let start = known.start + Duration::from_secs(100);
    known.nodes.alive(id(1), number(0), beat(1), start);
    let second = Alive {
        age: Duration::from_secs(65),
        name: "b".into(),
        ..beat(7)
    };
    let later = start + Duration::from_secs(5);
    known.nodes.alive(id(1), number(1), second.clone(), later);
    let expected = Node {
        id: id(1),
        name: "b".into(),
        connections: second.load.connections,
        groups: second.load.groups,
        draining: second.load.draining,
        started: later.checked_sub(Duration::from_secs(65)),
        last_seen: later,
    };
    assert_eq!(known.nodes.iter().collect::<Vec<_>>(), [expected]);
    assert_eq!(known.nodes.connections(), 7);
}

#[test]
fn an_age_before_all_time_is_no_panic() {
    let mut known = Known::new();
    let old = Alive {
        age: Duration::MAX,
        ..beat(1)
    };
    known.nodes.alive(id(1), number(0), old, known.start);
    assert_eq!(known.nodes.iter().next().unwrap().started, None);
}

#[test]
fn a_thousand_nodes_are_listed_and_one_more_only_once_another_has_left() {
    let mut known = Known::new();
    for node in 1..=1000 {
        assert!(known.joins(node, 0, 0));
    }
    assert!(!known.joins(1001, 0, 0));
    assert_eq!((known.nodes.len(), known.nodes.known.len()), (1000, 1000));
    assert!(!known.joins(5, 1, 0), "one that is listed stays so");
    assert!(known.leaves(5, 2, 0));
    assert!(known.joins(1001, 1, 0));
    assert_eq!((known.nodes.len(), known.nodes.known.len()), (1000, 1000));
}

#[test]
fn from_100_nodes_on_heartbeats_get_rarer() {
    let five = Duration::from_secs(5);
    for (nodes, millis) in [(1, 5000), (100, 5000), (101, 5050), (1000, 50_000)] {
        assert_eq!(interval(five, nodes), Duration::from_millis(millis));
    }
    assert!(interval(five, usize::MAX) > Duration::from_secs(1 << 20));
}
