#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;
use crate::cluster::topic::TopicPrefix;

fn topic(key: &str) -> Topic {
    let rooms = TopicPrefix::new("shop", "rooms").unwrap();
    rooms.topic(key.as_bytes()).unwrap()
}

fn delivery(key: &str, text: &str) -> Inbound<()> {
    Inbound {
        topic: topic(key),
        target: Target::Group(()),
        from: NodeId::new(1),
        missed: 0,
        carried: Some(Carried::Message(text.into())),
    }
}

fn incoming() -> DeliveryQueues<()> {
    DeliveryQueues::new(16 << 20)
}

/// Takes the next one: its text.
fn poll(incoming: &mut DeliveryQueues<()>) -> Option<String> {
    let Some(Carried::Message(message)) = incoming.poll()?.carried else {
        return None;
    };
    message.into_message().as_text().map(str::to_owned)
}

#[test]
fn a_topic_gives_one_at_a_time_in_order() {
    let mut incoming = incoming();
    for text in ["1", "2", "3"] {
        incoming.push(25, delivery("a", text));
    }
    for text in ["1", "2", "3"] {
        assert_eq!(poll(&mut incoming).as_deref(), Some(text));
        assert_eq!(poll(&mut incoming), None, "it is busy");
        incoming.delivered(&topic("a"));
    }
    assert_eq!(poll(&mut incoming), None);
    assert!(incoming.queues.is_empty() && incoming.ready.is_empty());
}

#[test]
fn topics_take_turns() {
    let mut incoming = incoming();
    for text in ["a1", "a2", "a3", "b1", "c1", "c2"] {
        incoming.push(26, delivery(&text[..1], text));
    }
    let mut order = Vec::new();
    while let Some(text) = poll(&mut incoming) {
        incoming.delivered(&topic(&text[..1]));
        order.push(text);
    }
    assert_eq!(order, ["a1", "b1", "c1", "a2", "c2", "a3"]);
}

#[test]
fn what_comes_for_a_busy_topic_waits_until_that_is_delivered() {
    let mut incoming = incoming();
    incoming.push(25, delivery("a", "1"));
    assert_eq!(poll(&mut incoming).as_deref(), Some("1"));
    incoming.push(25, delivery("a", "2"));
    assert_eq!(poll(&mut incoming), None);
    incoming.delivered(&topic("a"));
    assert_eq!(poll(&mut incoming).as_deref(), Some("2"));
}

#[test]
fn all_queues_together_have_one_bound_which_what_is_being_delivered_counts_for() {
    let mut incoming = DeliveryQueues::new(2000);
    let cost = 1000 - OVERHEAD;
    incoming.push(cost, delivery("a", "1"));
    assert!(incoming.has_room(cost) && !incoming.has_room(cost + 1));
    incoming.push(cost, delivery("b", "2"));
    assert_eq!(incoming.bytes(), 2000);
    assert!(!incoming.has_room(0));
    assert_eq!(poll(&mut incoming).as_deref(), Some("1"));
    assert!(!incoming.has_room(0));
    incoming.delivered(&topic("a"));
    assert!(incoming.has_room(cost));
}

#[test]
fn empty_envelopes_are_not_free() {
    let mut incoming = DeliveryQueues::new(16 << 20);
    let mut count = 0_usize;
    while incoming.has_room(24) && count < 1 << 20 {
        incoming.push(24, delivery("a", ""));
        count += 1;
    }
    assert!(
        count * size_of::<(usize, Inbound<()>)>() <= 16 << 20,
        "{count}"
    );
}

#[test]
fn what_is_queued_for_a_group_that_is_gone_is_dropped_elsewhere() {
    let mut incoming = incoming();
    for text in ["1", "2", "3"] {
        incoming.push(25, delivery("a", text));
    }
    incoming.push(25, delivery("b", "4"));
    assert_eq!(poll(&mut incoming).as_deref(), Some("1"));
    let mut waste = Waste::default();
    assert_eq!(incoming.purge(&topic("a"), &mut waste), 2);
    assert_eq!(incoming.purge(&topic("a"), &mut waste), 0);
    assert_eq!(waste.carried.len(), 2);
    incoming.delivered(&topic("a"));
    assert_eq!(poll(&mut incoming).as_deref(), Some("4"));
    incoming.delivered(&topic("b"));
    assert_eq!((poll(&mut incoming), incoming.bytes()), (None, 0));
    assert!(incoming.queues.is_empty());
}

#[test]
fn a_group_that_is_made_anew_keeps_its_order_too() {
    let mut incoming = incoming();
    incoming.push(25, delivery("a", "1"));
    assert_eq!(poll(&mut incoming).as_deref(), Some("1"));
    incoming.purge(&topic("a"), &mut Waste::default());
    incoming.push(25, delivery("a", "2"));
    assert_eq!(
        poll(&mut incoming),
        None,
        "the one before is not delivered yet"
    );
    incoming.delivered(&topic("a"));
    assert_eq!(poll(&mut incoming).as_deref(), Some("2"));

    incoming.delivered(&topic("a"));
    incoming.push(25, delivery("a", "3"));
    incoming.purge(&topic("a"), &mut Waste::default());
    incoming.push(25, delivery("a", "4"));
    assert_eq!(poll(&mut incoming).as_deref(), Some("4"));
    incoming.push(25, delivery("a", "5"));
    assert_eq!(poll(&mut incoming), None, "it is busy");
}

#[test]
fn what_is_next_of_a_topic_follows_at_once_unless_something_is_missing_before_it() {
    let mut incoming = incoming();
    for text in ["1", "2", "3"] {
        incoming.push(25, delivery("a", text));
    }
    let gap = Inbound {
        missed: 1,
        ..delivery("a", "5")
    };
    incoming.push(25, gap);
    let text = |inbound: Option<Inbound<()>>| match inbound?.carried {
        Some(Carried::Message(message)) => message.into_message().as_text().map(str::to_owned),
        _ => None,
    };
    assert_eq!(poll(&mut incoming).as_deref(), Some("1"));
    for next in ["2", "3"] {
        assert_eq!(text(incoming.next_of(&topic("a"))).as_deref(), Some(next));
        assert_eq!(poll(&mut incoming), None, "it is busy");
    }
    // Whoever counts gaps has to see it.
    assert_eq!(text(incoming.next_of(&topic("a"))), None);
    assert_eq!(poll(&mut incoming).as_deref(), Some("5"));
    assert_eq!(text(incoming.next_of(&topic("a"))), None);
    assert_eq!(incoming.bytes(), 0);
    assert!(incoming.queues.is_empty());
}
