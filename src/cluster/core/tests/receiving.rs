//! What comes, and what of it is delivered.

use super::*;

fn interested() -> Alone {
    let mut alone = Alone::ready();
    alone.core.add_interest(&topic("a"), 42);
    alone.subscribe();
    alone
}

#[test]
fn a_message_of_another_node_is_delivered_to_the_group() {
    let mut alone = interested();
    alone.receive("a", 2, 0, text("hello"));
    let deliveries = alone.deliveries();
    let [delivery] = &deliveries[..] else {
        panic!("{deliveries:?}");
    };
    assert_eq!(delivery.topic, topic("a"));
    assert_eq!(delivery.target, Target::Group(42));
    assert_eq!((delivery.from, delivery.missed), (Some(id(2)), 0));
    assert_eq!(delivery.carried, Some(text("hello")));
}

#[test]
fn own_messages_that_come_back_are_dropped() {
    let mut alone = interested();
    alone.receive("a", 1, 0, text("own"));
    assert_eq!(alone.deliveries().len(), 0);
    let counters = alone.core.counters();
    assert_eq!(
        (counters.own_echoes, counters.doubles),
        (2, 0),
        "one is a heartbeat"
    );
}

#[test]
fn doubles_are_dropped_and_gaps_are_told_with_the_message_behind_them() {
    let mut alone = interested();
    for index in [0, 0, 1, 5, 4, 5, 6] {
        alone.receive("a", 2, index, text(&index.to_string()));
    }
    let deliveries = alone.deliveries();
    let missed: Vec<_> = deliveries.iter().map(|next| next.missed).collect();
    assert_eq!(missed, [0, 0, 3, 0]);
    let counters = alone.core.counters();
    assert_eq!((counters.doubles, counters.gaps, counters.lost), (3, 1, 3));
}

#[test]
fn somebody_outside_does_not_number_and_is_always_heard() {
    let mut alone = interested();
    for _ in 0..2 {
        let envelope = [&[1, 1][..], &[0; 22], b"hello"].concat();
        alone
            .core
            .receive(topic("a").as_bytes(), &envelope.into(), || alone.now);
    }
    let deliveries = alone.deliveries();
    assert_eq!(deliveries.len(), 2);
    assert!(
        deliveries
            .iter()
            .all(|next| next.from.is_none() && next.missed == 0)
    );
}

#[test]
fn a_topic_without_members_delivers_nothing() {
    let mut alone = interested();
    alone.receive("b", 2, 0, text("never wanted"));
    alone.core.remove_interest(&topic("a"), alone.now);
    alone.receive("a", 2, 0, text("lingers"));
    assert_eq!(alone.deliveries().len(), 0);
    assert_eq!(alone.core.counters().uninterested, 2);
    // Numbers go on meanwhile.
    alone.core.add_interest(&topic("a"), 43);
    alone.receive("a", 2, 0, text("a double"));
    alone.receive("a", 2, 2, text("new"));
    let deliveries = alone.deliveries();
    assert_eq!((deliveries.len(), deliveries[0].missed), (1, 1));
    assert_eq!(deliveries[0].target, Target::Group(43));
}

#[test]
fn what_is_queued_for_a_group_that_is_gone_is_not_delivered_to_one_made_anew() {
    let mut alone = interested();
    alone.receive("a", 2, 0, text("for those before"));
    alone.core.remove_interest(&topic("a"), alone.now);
    alone.core.add_interest(&topic("a"), 43);
    assert_eq!(alone.deliveries().len(), 0);
    assert_eq!(alone.core.counters().uninterested, 1);
    assert_eq!(alone.core.counters().inbound_bytes, 0);
}

#[test]
fn beyond_the_budget_the_newest_is_dropped_and_the_next_one_tells() {
    let settings = ClusterSettings {
        max_inbound: 2 * (24 + 1 + 128),
        ..ClusterSettings::default()
    };
    let mut alone = Alone::with(settings, promises());
    alone.core.add_interest(&topic("a"), 0);
    for index in 0..5 {
        alone.receive("a", 2, index, text(&index.to_string()));
    }
    let kept: Vec<_> = alone
        .deliveries()
        .into_iter()
        .filter_map(|next| next.carried)
        .collect();
    assert_eq!(kept, [text("0"), text("1")]);
    alone.receive("a", 2, 5, text("5"));
    assert_eq!(alone.deliveries()[0].missed, 3);
    let counters = alone.core.counters();
    assert_eq!((counters.overrun, counters.lost, counters.gaps), (3, 3, 1));
}

#[test]
fn a_message_is_as_large_as_the_receivers_limit_whatever_the_senders() {
    let settings = ClusterSettings {
        max_message_size: 100,
        ..ClusterSettings::default()
    };
    let mut alone = Alone::with(settings, promises());
    alone.core.add_interest(&topic("a"), 0);
    alone.receive("a", 2, 0, text(&"x".repeat(108)));
    alone.receive("a", 2, 1, text(&"x".repeat(109)));
    assert_eq!(alone.deliveries().len(), 1);
    assert_eq!(alone.core.counters().malformed.too_large, 1);
    // It is missing, and that is told.
    alone.receive("a", 2, 2, text("x"));
    assert_eq!(alone.deliveries()[0].missed, 1);
}

#[test]
fn what_is_malformed_is_dropped_and_missing_and_counted_by_its_reason() {
    let mut alone = interested();
    alone.receive("a", 2, 0, text("good"));
    let letter = Letter::from(&Carried::Message(Message::text("ä").into()));
    let head = letter.head(id(2), Number { run: 1, index: 1 });
    let whole = [head.as_bytes(), &letter.payload].concat();
    let mut version = whole.clone();
    version[0] = 2;
    let mut kind = whole.clone();
    kind[1] = 32;
    for envelope in [&whole[..25], &whole[..10], &[], &version, &kind] {
        let envelope = Bytes::copy_from_slice(envelope);
        alone
            .core
            .receive(topic("a").as_bytes(), &envelope, || alone.now);
    }
    alone.receive("a", 2, 2, text("good"));
    let missed: Vec<_> = alone.deliveries().iter().map(|next| next.missed).collect();
    assert_eq!(missed, [0, 1]);
    let malformed = alone.core.counters().malformed;
    assert_eq!((malformed.utf8, malformed.truncated), (1, 2));
    assert_eq!((malformed.version, malformed.kind), (1, 1));
}

#[test]
fn what_is_for_a_connection_or_all_nodes_does_not_come_by_the_topic_of_a_group_nor_the_other_way() {
    let mut alone = interested();
    let own = alone.core.topic_of(id(1));
    let all = alone.core.own.all();
    let number = Number { run: 1, index: 0 };
    let connection = ConnectionId::new(1);
    let to = [
        Carried::MessageTo(connection, "x".into()),
        Carried::CloseConnection(connection, None),
    ];
    for what in to {
        alone.receive("a", 2, 0, what.clone());
        alone.receive_in(&all, 2, number, what);
    }
    for what in [text("x"), Carried::Close(None)] {
        alone.receive_in(&own, 2, number, what.clone());
        alone.receive_in(&all, 2, number, what);
    }
    for topic in [topic("a"), own] {
        alone.receive_letter(&topic, 2, number, &Letter::leaving());
    }
    assert_eq!(alone.core.counters().malformed.misplaced, 10);
    assert_eq!(alone.deliveries().len(), 0);
}

#[test]
fn other_nodes_close_groups_and_connections_unless_that_is_forbidden() {
    let frame = CloseFrame::new(CloseCode::POLICY_VIOLATION, "signed out");
    for remote_close in [true, false] {
        let settings = ClusterSettings {
            remote_close,
            ..ClusterSettings::default()
        };
        let mut alone = Alone::with(settings, promises());
        alone.core.add_interest(&topic("a"), 0);
        let own = alone.core.topic_of(id(1));
        let number = Number { run: 1, index: 0 };
        let connection = ConnectionId::new(9);
        let one = Carried::CloseConnection(connection, Some(frame.clone()));
        let group = Carried::Close(Some(frame.clone()));
        alone.receive("a", 2, 0, group.clone());
        alone.receive_in(&own, 2, number, one.clone());
        let carried: Vec<_> = alone
            .deliveries()
            .into_iter()
            .filter_map(|next| next.carried)
            .collect();
        let ignored = alone.core.counters().closes_ignored;
        if remote_close {
            assert_eq!((carried, ignored), (vec![group, one], 0));
        } else {
            assert_eq!((carried, ignored), (vec![], 2));
        }
    }
}

#[test]
fn what_is_missing_before_a_close_that_is_not_obeyed_is_told_all_the_same() {
    let settings = ClusterSettings {
        remote_close: false,
        ..ClusterSettings::default()
    };
    let mut alone = Alone::with(settings, promises());
    alone.core.add_interest(&topic("a"), 0);
    alone.receive("a", 2, 0, text("first"));
    alone.deliveries();
    alone.receive("a", 2, 3, Carried::Close(None));
    let deliveries = alone.deliveries();
    assert_eq!(deliveries.len(), 1);
    assert_eq!((deliveries[0].missed, &deliveries[0].carried), (2, &None));
    alone.receive("a", 2, 4, text("after it"));
    assert_eq!(alone.deliveries()[0].missed, 0);
    let counters = alone.core.counters();
    assert_eq!((counters.closes_ignored, counters.lost), (1, 2));
}

#[test]
fn a_payload_is_a_slice_of_what_came() {
    let mut alone = interested();
    let letter = Letter::from(&Carried::Message(Message::binary(vec![7; 5000]).into()));
    let head = letter.head(id(2), Number { run: 1, index: 0 });
    let envelope = Bytes::from([head.as_bytes(), &letter.payload].concat());
    let payload = envelope[24..].as_ptr();
    alone
        .core
        .receive(topic("a").as_bytes(), &envelope, || alone.now);
    let Some(Carried::Message(message)) = alone.deliveries().remove(0).carried else {
        panic!("no message");
    };
    assert_eq!(message.into_message().into_bytes().as_ptr(), payload);
}
