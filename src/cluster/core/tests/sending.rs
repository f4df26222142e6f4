//! What is sent, and what becomes of it while there is no connection.

use super::*;

#[test]
fn what_is_published_leaves_in_order() {
    let mut alone = Alone::ready();
    for what in ["1", "2", "3"] {
        assert_eq!(alone.publish("a", what), Remote::Queued);
    }
    assert_eq!(alone.leaving(), ["1", "2", "3"]);
    assert_eq!(alone.leaving(), [""; 0]);
}

#[test]
fn without_an_engine_at_the_start_all_waits_for_five_seconds_and_then_is_down() {
    let mut alone = Alone::new();
    assert_eq!(alone.publish("a", "1"), Remote::Waiting);
    alone.pass(4999);
    assert_eq!(alone.publish("a", "2"), Remote::Waiting);
    alone.pass(1);
    assert_eq!(alone.publish("a", "3"), Remote::Down);
    let counters = alone.core.counters();
    assert_eq!((counters.refused.expired, counters.refused.down), (2, 1));
    assert_eq!(counters.queued_bytes, 0);
    // Also where nobody has kept the deadline yet.
    let mut alone = Alone::new();
    alone.now += Duration::from_secs(5);
    assert_eq!(alone.publish("a", "1"), Remote::Down);
}

#[test]
fn what_is_kept_leaves_250_milliseconds_after_all_is_subscribed_and_before_what_is_younger() {
    let mut alone = Alone::ready();
    alone.publish("a", "1");
    assert_eq!(alone.leaving(), ["1"]);
    alone.core.lost(alone.now);
    assert_eq!(alone.publish("a", "2"), Remote::Waiting);
    alone.pass(1000);
    alone.core.connected(alone.now);
    assert_eq!(alone.publish("a", "3"), Remote::Waiting);
    alone.subscribe();
    assert_eq!(alone.publish("a", "4"), Remote::Waiting);
    // The heartbeat overtakes, since all nodes wait for it.
    assert_eq!(alone.leaving(), ["?"]);
    alone.pass(249);
    assert_eq!(alone.leaving(), [""; 0]);
    alone.pass(1);
    assert_eq!(alone.publish("a", "5"), Remote::Queued);
    assert_eq!(alone.leaving(), ["1", "2", "3", "4", "5"]);
}

/// A node that knows two others, has something kept, and is connected and subscribed again.
fn after_a_break() -> Alone {
    let mut alone = Alone::ready();
    hear(&mut alone, 2, 0);
    hear(&mut alone, 3, 0);
    alone.events();
    alone.core.lost(alone.now);
    alone.publish("a", "kept");
    alone.pass(1000);
    alone.core.connected(alone.now);
    alone.subscribe();
    assert_eq!(alone.leaving(), ["?"], "it says that it is there again");
    alone
}

fn hear(alone: &mut Alone, node: u64, index: u32) {
    let alive = Letter::alive(&Alive {
        interval: Duration::from_secs(5),
        age: Duration::from_secs(1),
        load: Load::default(),
        asks: false,
        name: "".into(),
    });
    let all = alone.core.own.all();
    alone.receive_letter(&all, node, Number { run: 1, index }, &alive);
}

#[test]
fn what_is_kept_leaves_once_all_nodes_are_heard_that_were_there_before() {
    let mut alone = after_a_break();
    alone.pass(500);
    hear(&mut alone, 2, 1);
    assert_eq!(alone.leaving(), [""; 0]);
    hear(&mut alone, 3, 1);
    // Some may have subscribed since this node spoke.
    assert_eq!(alone.leaving(), ["?", "kept"]);

    let mut alone = after_a_break();
    hear(&mut alone, 2, 1);
    hear(&mut alone, 3, 1);
    alone.pass(249);
    assert_eq!(alone.leaving(), [""; 0], "there may be others still");
    alone.pass(1);
    assert_eq!(alone.leaving(), ["?", "kept"]);

    // One that says that it leaves is not waited for.
    let mut alone = after_a_break();
    alone.pass(500);
    hear(&mut alone, 2, 1);
    let all = alone.core.own.all();
    alone.receive_letter(&all, 3, Number { run: 1, index: 1 }, &Letter::leaving());
    assert_eq!(alone.leaving(), ["?", "kept"]);
}

#[test]
fn what_is_kept_waits_for_others_for_two_seconds_at_most() {
    let mut alone = after_a_break();
    hear(&mut alone, 2, 1);
    alone.pass(2249);
    assert_eq!(alone.leaving(), [""; 0]);
    alone.pass(1);
    assert_eq!(alone.leaving(), ["?", "kept"]);
}

#[test]
fn nothing_that_is_five_seconds_old_is_sent() {
    let mut alone = Alone::ready();
    alone.publish("a", "1");
    assert_eq!(alone.leaving(), ["1"]);
    alone.pass(400);
    alone.core.lost(alone.now);
    alone.pass(3000);
    alone.publish("a", "2");
    alone.pass(1600);
    alone.core.connected(alone.now);
    alone.subscribe();
    alone.pass(250);
    assert_eq!(alone.leaving(), ["?", "2"]);
    assert_eq!(alone.core.counters().refused.expired, 1);
}

#[test]
fn the_time_in_which_a_connection_is_made_use_of_does_not_count_as_waiting() {
    let mut alone = after_a_break();
    alone.core.lost(alone.now);
    alone.pass(3900);
    alone.core.connected(alone.now);
    // 4.9 seconds so far.
    alone.pass(1500);
    alone.subscribe();
    alone.publish("a", "younger");
    assert_eq!(alone.leaving(), ["?"]);
    alone.pass(2250);
    assert_eq!(alone.leaving(), ["?", "kept", "younger"]);

    // It goes on behind that, where one second stood.
    let mut alone = Alone::ready();
    hear(&mut alone, 2, 0);
    alone.core.lost(alone.now);
    alone.publish("a", "kept");
    alone.pass(1000);
    alone.core.connected(alone.now);
    while let Some(command) = alone.core.poll_command(alone.now) {
        alone.answer(command);
    }
    alone.publish("a", "younger");
    alone.pass(2250 + 3999);
    assert_eq!(alone.core.counters().refused.expired, 0);
    alone.pass(1);
    assert_eq!(alone.core.counters().refused.expired, 1);
    alone.pass(1000);
    assert_eq!(alone.core.counters().refused.expired, 2);
}

#[test]
fn an_engine_that_retains_has_nobody_waited_for() {
    let promises = Promises {
        retains: true,
        ..promises()
    };
    let mut alone = Alone::with(ClusterSettings::default(), promises);
    alone.connect();
    hear(&mut alone, 2, 0);
    alone.core.lost(alone.now);
    alone.publish("a", "kept");
    alone.core.connected(alone.now);
    alone.subscribe();
    assert_eq!(alone.leaving(), ["?"]);
    alone.pass(250);
    assert_eq!(alone.leaving(), ["?", "kept"]);
}

#[test]
fn five_seconds_without_a_connection_drop_what_is_kept_however_young() {
    let mut alone = Alone::ready();
    alone.core.lost(alone.now);
    alone.pass(4990);
    alone.publish("a", "1");
    alone.pass(10);
    assert_eq!(alone.core.counters().refused.expired, 1);
    alone.connect();
    assert_eq!(alone.publish("a", "2"), Remote::Queued);
    assert_eq!(alone.leaving(), ["2"]);
}

#[test]
fn a_full_queue_refuses_and_has_room_again_once_something_is_answered() {
    let settings = ClusterSettings {
        max_queued: 2,
        ..ClusterSettings::default()
    };
    let mut alone = Alone::with(settings, promises());
    alone.connect();
    assert_eq!(alone.publish("a", "1"), Remote::Queued);
    assert_eq!(alone.publish("a", "2"), Remote::Queued);
    assert_eq!(alone.publish("a", "3"), Remote::Full);
    let Some(Command::Publish(first)) = alone.core.poll_command(alone.now) else {
        panic!("nothing leaves");
    };
    assert_eq!(alone.publish("a", "4"), Remote::Full);
    alone.core.published(first.ticket(), Ok(()));
    assert_eq!(alone.publish("a", "5"), Remote::Queued);
    assert_eq!(alone.core.counters().refused.full, 2);
}

#[test]
fn a_message_has_1_mib_at_most_and_what_the_engine_takes() {
    let mut alone = Alone::ready();
    let largest = "x".repeat(1 << 20);
    assert_eq!(alone.publish("a", &largest), Remote::Queued);
    assert_eq!(alone.publish("a", &(largest + "x")), Remote::TooLarge);

    let promises = Promises {
        max_envelope: 100,
        ..promises()
    };
    let mut alone = Alone::with(ClusterSettings::default(), promises);
    alone.connect();
    assert_eq!(alone.publish("a", &"x".repeat(76)), Remote::Queued);
    assert_eq!(alone.publish("a", &"x".repeat(77)), Remote::TooLarge);
    assert_eq!(alone.core.counters().refused.too_large, 1);
}

#[test]
fn what_is_refused_uses_a_number_up() {
    let settings = ClusterSettings {
        max_message_size: 3,
        ..ClusterSettings::default()
    };
    let mut alone = Alone::with(settings, promises());
    alone.connect();
    alone.publish("a", "1");
    assert!(alone.publish("a", "too large").is_refused());
    alone.publish("a", "3");
    let mut other = Alone::with(ClusterSettings::default(), promises());
    other.core = core_on(promises(), 2, ClusterSettings::default(), other.now);
    other.core.add_interest(&topic("a"), 0);
    while let Some(Command::Publish(publish)) = alone
        .core
        .poll_command(alone.now)
        .or_else(|| alone.core.poll_more())
    {
        let topic = publish.topic().as_bytes();
        other.core.receive(topic, &envelope(&publish), || other.now);
    }
    let missed: Vec<_> = other.deliveries().iter().map(|next| next.missed).collect();
    assert_eq!(missed, [0, 1]);
}

#[test]
fn who_asks_is_told_what_became_of_an_envelope() {
    let mut alone = Alone::ready();
    let mut tickets = Vec::new();
    for what in ["good", "refused", "too late"] {
        let now = alone.now;
        let ticket = alone.core.publish_confirmed(&topic("a"), &text(what), now);
        tickets.push(ticket.unwrap().0);
    }
    alone.publish("a", "nobody asks");
    let Some(Command::Publish(first)) = alone.core.poll_command(alone.now) else {
        panic!("nothing leaves");
    };
    let Some(Command::Publish(second)) = alone.core.poll_more() else {
        panic!("no more fits");
    };
    assert_eq!([first.ticket(), second.ticket()], tickets[..2]);
    alone.core.published(first.ticket(), Ok(()));
    let refused = BackplaneError::denied("NOPERM");
    alone.core.published(second.ticket(), Err(refused));
    alone.core.lost(alone.now);
    alone.pass(5000);
    let mut told = Vec::new();
    for event in alone.events() {
        if let CoreEvent::Published(ticket, result) = event {
            told.push((ticket, result));
        }
    }
    assert_eq!(
        told.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(),
        tickets
    );
    assert!(told[0].1.is_ok());
    assert!(matches!(&told[1].1, Err(Unpublished::Rejected(error)) if error.is_denied()));
    assert!(matches!(told[2].1, Err(Unpublished::Expired)));
    let counters = alone.core.counters();
    assert_eq!((counters.confirmed, counters.refused.rejected), (1, 1));
    assert_eq!(counters.refused.expired, 2);

    let now = alone.now;
    let refused = alone.core.publish_confirmed(&topic("a"), &text("x"), now);
    assert_eq!(refused, Err(Remote::Down));
}

#[test]
fn an_engine_that_does_not_confirm_is_given_all_at_once_and_nothing_twice() {
    let promises = Promises {
        confirms: false,
        ..promises()
    };
    let mut alone = Alone::with(ClusterSettings::default(), promises);
    alone.connect();
    for index in 0..2000 {
        alone.publish("a", &index.to_string());
    }
    assert_eq!(alone.leaving().len(), 2000);
    let counters = alone.core.counters();
    assert_eq!((counters.confirmed, counters.in_flight), (2000, 0));
    assert_eq!(alone.pass(4000), None, "nothing is unanswered");
    alone.core.lost(alone.now);
    alone.connect();
    assert_eq!(alone.leaving(), [""; 0]);
}

#[test]
fn an_engine_that_answers_nothing_for_three_seconds_is_given_up() {
    let mut alone = Alone::ready();
    alone.pass(1000);
    alone.publish("a", "1");
    assert_eq!(alone.leaving(), ["1"]);
    let sent = alone.now;
    assert_eq!(alone.pass(60_000), Some(Silence::Unanswered));
    assert_eq!(alone.now - sent, Duration::from_secs(3));

    // A subscription.
    let mut alone = Alone::ready();
    alone.core.add_interest(&topic("a"), 0);
    assert_eq!(alone.leaving(), ["?"]);
    let asked = alone.now;
    assert_eq!(alone.pass(60_000), Some(Silence::Unanswered));
    assert_eq!(alone.now - asked, Duration::from_secs(3));
}

#[test]
fn a_node_that_itself_stood_still_gives_nobody_up_for_a_second() {
    for pause in [3300, 20_000] {
        let mut alone = Alone::ready();
        alone.publish("a", "1");
        let Some(Command::Publish(publish)) = alone.core.poll_command(alone.now) else {
            panic!("nothing leaves");
        };
        let alive = Alive {
            interval: Duration::from_secs(5),
            age: Duration::ZERO,
            load: Load::default(),
            asks: false,
            name: "b".into(),
        };
        let all = alone.core.own.all();
        let number = Number::default();
        alone.receive_letter(&all, 2, number, &Letter::alive(&alive));
        alone.events();
        // Meanwhile nothing here runs; the answer is there, and not read yet.
        alone.now += Duration::from_millis(pause);
        assert_eq!(alone.core.handle_timeout(alone.now), None);
        assert!(alone.core.poll_timeout().unwrap() > alone.now);
        alone.core.published(publish.ticket(), Ok(()));
        let number = Number { run: 0, index: 1 };
        alone.receive_letter(&all, 2, number, &Letter::alive(&alive));
        assert!(alone.events().is_empty(), "nobody has left");
    }
}

#[test]
fn a_node_that_is_always_late_finds_out_all_the_same() {
    let mut alone = Alone::ready();
    alone.publish("a", "1");
    assert_eq!(alone.leaving(), ["1"]);
    let sent = alone.now;
    let silence = (0..20).find_map(|_| {
        let due = alone.core.poll_timeout().unwrap();
        alone.now = due.max(alone.now) + Duration::from_millis(400);
        alone.leaving();
        alone.core.handle_timeout(alone.now)
    });
    assert_eq!(silence, Some(Silence::Unanswered));
    assert!(alone.now - sent < Duration::from_secs(10));
}

#[test]
fn payloads_and_tables_are_left_to_be_dropped_without_a_lock() {
    let mut alone = Alone::ready();
    drop(alone.core.take_waste());
    alone.publish("a", "1");
    let Some(Command::Publish(publish)) = alone.core.poll_command(alone.now) else {
        panic!("nothing leaves");
    };
    alone.core.published(publish.ticket(), Ok(()));
    assert!(!alone.core.take_waste().is_empty());
    assert!(alone.core.take_waste().is_empty());
}

#[test]
fn what_is_for_one_connection_goes_to_the_topic_of_its_node() {
    let mut alone = Alone::ready();
    let to = alone.core.topic_of(id(0xabc));
    let connection = ConnectionId::new(7);
    let what = Carried::MessageTo(connection, "hello".into());
    let now = alone.now;
    assert_eq!(alone.core.publish(&to, &what, now), Remote::Queued);
    let Some(Command::Publish(publish)) = alone.core.poll_command(now) else {
        panic!("nothing leaves");
    };
    assert_eq!(
        publish.topic().as_bytes(),
        b"shop:1:!:node-0000000000000abc"
    );
    assert_eq!(
        (publish.head().len(), &publish.payload()[..]),
        (32, &b"hello"[..])
    );

    let mut other = Alone::new();
    other.core = core_on(promises(), 0xabc, ClusterSettings::default(), now);
    other
        .core
        .receive(to.as_bytes(), &envelope(&publish), || now);
    let delivery = other.core.poll_delivery().unwrap();
    assert_eq!(
        (delivery.target, delivery.carried),
        (Target::Node, Some(what))
    );
}

#[test]
fn connections_on_which_nothing_leaves_are_none() {
    let mut alone = Alone::ready();
    alone.core.lost(alone.now);
    for millis in (0..10_000).step_by(500) {
        let expected = if millis < 5000 {
            Remote::Waiting
        } else {
            Remote::Down
        };
        assert_eq!(alone.publish("a", "x"), expected, "after {millis} ms");
        alone.core.connected(alone.now);
        assert!(alone.core.poll_command(alone.now).is_some());
        alone.core.lost(alone.now);
        assert_eq!(alone.pass(500), None);
    }
    let refused = alone.core.counters().refused;
    assert_eq!((refused.expired, refused.down), (10, 10));
}

#[test]
fn who_leaves_does_not_wait_for_nodes_that_are_gone() {
    let mut alone = Alone::ready();
    let number = Number { run: 1, index: 0 };
    let all = alone.core.own.all();
    let beat = Letter::alive(&Alive {
        interval: Duration::from_secs(5),
        age: Duration::from_secs(1),
        load: Load::default(),
        asks: false,
        name: "b".into(),
    });
    alone.receive_letter(&all, 2, number, &beat);
    alone.pass(1000);
    alone.core.lost(alone.now);
    assert_eq!(alone.publish("a", "last"), Remote::Waiting);
    alone.core.connected(alone.now);
    alone.subscribe();
    alone.core.leave(alone.now);
    alone.pass(250);
    assert_eq!(alone.leaving(), ["last"]);
}
