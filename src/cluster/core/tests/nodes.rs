//! Who lives, and how a node leaves.

use super::*;

fn alive(name: &str, connections: u32) -> Letter {
    Letter::alive(&Alive {
        interval: Duration::from_secs(5),
        age: Duration::from_secs(1),
        load: Load {
            connections,
            ..Load::default()
        },
        asks: false,
        name: name.into(),
    })
}

const fn number(index: u32) -> Number {
    Number { run: 1, index }
}

/// Passes all that leaves on to another node, and answers it.
fn pass_on(from: &mut Alone, to: &mut Alone) -> bool {
    let mut left = false;
    while let Some(command) = from.core.poll_command(from.now) {
        left |= matches!(command, Command::Leave);
        if let Command::Publish(publish) = &command {
            let topic = publish.topic().as_bytes();
            to.core.receive(topic, &envelope(publish), || to.now);
        }
        from.answer(command);
        if left {
            break;
        }
    }
    left
}

fn two() -> [Alone; 2] {
    let settings = |name: &str| ClusterSettings {
        name: name.into(),
        ..ClusterSettings::default()
    };
    let first = Alone::with(settings("first"), promises());
    let mut second = Alone::with(ClusterSettings::default(), promises());
    second.core = core_on(promises(), 2, settings("second"), second.now);
    [first, second]
}

#[test]
fn a_node_says_at_once_and_every_five_seconds_that_it_is_alive_and_what_it_carries() {
    let [mut first, mut second] = two();
    second.core.connected(second.now);
    second.subscribe();
    second.events();
    first.core.connected(first.now);
    first.subscribe();
    first.core.set_load(Load {
        connections: 12,
        groups: 3,
        draining: true,
    });
    first.pass(250);
    pass_on(&mut first, &mut second);
    assert!(matches!(second.events()[..], [CoreEvent::NodeJoined(node)] if node == id(1)));
    let nodes = second.core.nodes(second.now);
    assert_eq!(nodes[0].id, id(2));
    assert_eq!((nodes[1].id, &*nodes[1].name), (id(1), "first"));
    assert_eq!(nodes[1].groups, 3);
    assert!(nodes[1].draining);
    assert_eq!(
        (second.core.connections(), second.core.counters().nodes),
        (12, 2)
    );
    first.core.set_load(Load::default());
    first.pass(6000);
    pass_on(&mut first, &mut second);
    assert_eq!(second.core.connections(), 0);
}

#[test]
fn a_node_that_falls_silent_has_left_after_three_of_its_intervals() {
    let mut alone = Alone::ready();
    let all = alone.core.own.all();
    alone.receive_letter(&all, 2, number(0), &alive("b", 1));
    alone.events();
    for _ in 0..14 {
        alone.pass(1000);
        while let Some(command) = alone.core.poll_command(alone.now) {
            alone.answer(command);
        }
    }
    assert!(alone.events().is_empty());
    alone.pass(1000);
    assert!(matches!(alone.events()[..], [CoreEvent::NodeLeft(node)] if node == id(2)));
    assert_eq!(alone.core.nodes(alone.now).len(), 1);
}

#[test]
fn heartbeats_come_by_their_topic_and_from_nodes() {
    let mut alone = Alone::ready();
    alone.core.add_interest(&topic("a"), 0);
    alone.receive_letter(&topic("a"), 2, number(0), &alive("b", 1));
    let own = alone.core.topic_of(id(1));
    alone.receive_letter(&own, 2, number(0), &alive("b", 1));
    let all = alone.core.own.all();
    let mut outside = vec![1, 7];
    outside.resize(24 + 22, 0);
    alone
        .core
        .receive(all.as_bytes(), &outside.into(), || alone.now);
    assert_eq!(alone.core.nodes(alone.now).len(), 1);
    let malformed = alone.core.counters().malformed;
    assert_eq!((malformed.misplaced, malformed.alive), (2, 1));
}

#[test]
fn none_of_its_own_heartbeats_back_for_three_intervals_ends_a_connection_that_looks_sound() {
    let mut alone = Alone::ready();
    let connected = alone.now;
    let mut silence = None;
    while silence.is_none() && alone.now < connected + Duration::from_secs(60) {
        // All is answered, and nothing comes in.
        while let Some(command) = alone.core.poll_command(alone.now) {
            if let Command::Publish(publish) = command {
                alone.core.published(publish.ticket(), Ok(()));
            }
        }
        silence = alone.pass(100);
    }
    assert_eq!(silence, Some(Silence::NoEcho));
    assert_eq!((alone.now - connected).as_secs(), 15);
}

#[test]
fn heartbeats_are_watched_while_they_are_subscribed_and_again_once_they_are() {
    for why in [Lost::Away, Lost::Denied] {
        let mut alone = Alone::ready();
        let all = [alone.core.own.all()];
        alone.core.unsubscribed(&all, why, alone.now);
        assert_eq!(without_echoes(&mut alone, 20), None, "{why:?}");
        // On a connection that began without them, too.
        alone.core.lost(alone.now);
        alone.core.connected(alone.now);
        alone.subscribe_but(&all, why);
        assert_eq!(without_echoes(&mut alone, 20), None, "{why:?}");

        alone.core.subscribed(&all, alone.now);
        let again = alone.now;
        let silence = without_echoes(&mut alone, 60);
        assert_eq!(silence, Some(Silence::NoEcho), "{why:?}");
        assert_eq!((alone.now - again).as_secs(), 15, "{why:?}");
    }
}

#[test]
fn heartbeats_that_the_engine_refuses_are_no_silence() {
    let mut alone = Alone::ready();
    for _ in 0..600 {
        while let Some(command) = alone.core.poll_command(alone.now) {
            if let Command::Publish(publish) = command {
                let denied = BackplaneError::denied("no right to publish");
                alone.core.published(publish.ticket(), Err(denied));
            }
        }
        assert_eq!(alone.pass(100), None);
    }
    // Once it takes them they have to come back.
    let taken = alone.now;
    let silence = without_echoes(&mut alone, 60);
    assert_eq!(silence, Some(Silence::NoEcho));
    let waited = (alone.now - taken).as_secs();
    assert!((14..=21).contains(&waited), "{waited}");
}

#[test]
fn heartbeats_that_follow_do_not_hide_one_that_is_not_answered() {
    let settings = ClusterSettings {
        heartbeat: Duration::from_secs(1),
        ..ClusterSettings::default()
    };
    let promises = Promises {
        echoes: false,
        ..promises()
    };
    let mut alone = Alone::with(settings, promises);
    alone.connect();
    let answered = alone.now;
    let silence = (0..100).find_map(|_| {
        alone.leaving();
        alone.pass(100)
    });
    assert_eq!(silence, Some(Silence::Unanswered));
    let waited = (alone.now - answered).as_millis();
    assert!((3500..=4500).contains(&waited), "{waited}");
}

/// Answers all but with echoes, for so many seconds.
fn without_echoes(alone: &mut Alone, seconds: u64) -> Option<Silence> {
    (0..seconds * 10).find_map(|_| {
        while let Some(command) = alone.core.poll_command(alone.now) {
            if let Command::Publish(publish) = command {
                alone.core.published(publish.ticket(), Ok(()));
            }
        }
        alone.pass(100)
    })
}

#[test]
fn an_engine_without_echoes_is_not_expected_to_echo_and_one_without_answers_has_to_say_something() {
    for (confirms, says, expected) in [
        (true, false, None),
        (false, false, Some(Silence::NoEcho)),
        (false, true, None),
    ] {
        let promises = Promises {
            echoes: false,
            confirms,
            ..promises()
        };
        let mut alone = Alone::with(ClusterSettings::default(), promises);
        alone.connect();
        let mut silence = None;
        for _ in 0..60 {
            while let Some(command) = alone.core.poll_command(alone.now) {
                if let Command::Publish(publish) = command {
                    alone.core.published(publish.ticket(), Ok(()));
                }
            }
            if says {
                alone.core.alive(alone.now);
            }
            silence = silence.or_else(|| alone.pass(1000));
        }
        assert_eq!(silence, expected);
    }
}

#[test]
fn a_heartbeat_the_engine_does_not_answer_is_silence_too() {
    let mut alone = Alone::new();
    alone.core.connected(alone.now);
    alone.subscribe();
    alone.pass(250);
    assert_eq!(alone.leaving(), ["?"]);
    let sent = alone.now;
    assert_eq!(alone.pass(60_000), Some(Silence::Unanswered));
    assert_eq!(alone.now - sent, Duration::from_secs(3));
}

#[test]
fn round_trips_of_heartbeats_are_counted() {
    let mut alone = Alone::new();
    alone.core.connected(alone.now);
    alone.subscribe();
    alone.pass(250);
    let Some(Command::Publish(beat)) = alone.core.poll_command(alone.now) else {
        panic!("no heartbeat");
    };
    alone.pass(7);
    let topic = beat.topic().as_bytes();
    alone.core.receive(topic, &envelope(&beat), || alone.now);
    let counters = alone.core.counters();
    assert_eq!(counters.round_trip, Some(Duration::from_millis(7)));
    assert_eq!(counters.max_round_trip, counters.round_trip);
}

#[test]
fn a_node_that_leaves_sends_what_is_queued_says_so_and_ends() {
    let [mut first, mut second] = two();
    first.connect();
    second.connect();
    second.core.add_interest(&topic("a"), 0);
    first.pass(6000);
    pass_on(&mut first, &mut second);
    second.events();
    first.publish("a", "last");
    first.core.leave(first.now);
    assert_eq!(first.publish("a", "too late"), Remote::Down);
    assert!(!first.core.is_over());
    assert!(pass_on(&mut first, &mut second));
    assert!(first.core.is_over());
    assert_eq!(second.deliveries().len(), 1);
    assert!(matches!(second.events()[..], [CoreEvent::NodeLeft(node)] if node == id(1)));
}

#[test]
fn leaving_takes_two_seconds_at_most_whatever_the_engine_does() {
    let mut alone = Alone::ready();
    alone.publish("a", "1");
    alone.core.leave(alone.now);
    // Nothing is answered.
    assert_eq!(alone.leaving(), ["1"]);
    alone.pass(1999);
    assert!(!alone.core.is_over());
    alone.pass(1);
    assert!(alone.core.is_over());
    assert!(matches!(
        alone.core.poll_command(alone.now),
        Some(Command::Leave)
    ));

    // Without a connection it is over once nothing is kept.
    let mut alone = Alone::ready();
    alone.core.lost(alone.now);
    alone.publish("a", "1");
    alone.core.leave(alone.now);
    assert!(!alone.core.is_over());
    alone.pass(2000);
    assert!(alone.core.is_over());
    let mut alone = Alone::new();
    alone.core.leave(alone.now);
    assert!(alone.core.is_over());
}

#[test]
fn a_node_that_leaves_while_it_subscribes_sends_what_is_kept_all_the_same() {
    let mut alone = Alone::ready();
    alone.core.add_interest(&topic("a"), 0);
    alone.subscribe();
    alone.core.lost(alone.now);
    alone.publish("a", "1");
    alone.core.connected(alone.now);
    alone.core.leave(alone.now);
    alone.subscribe();
    alone.pass(250);
    assert_eq!(alone.leaving(), ["1"]);
}

#[test]
fn what_waits_for_a_command_of_a_node_that_leaves_is_not_woken_for_nothing() {
    let mut alone = Alone::ready();
    alone.publish("a", "1");
    let Some(Command::Publish(publish)) = alone.core.poll_command(alone.now) else {
        panic!("there is something to publish");
    };
    alone.core.add_interest(&topic("b"), 0);
    alone.core.leave(alone.now);
    // The answer is missing.
    assert!(alone.core.poll_command(alone.now).is_none());
    assert!(!alone.core.has_command());
    alone.core.published(publish.ticket(), Ok(()));
    assert!(alone.core.has_command(), "the last word is left");
    let Some(Command::Publish(last)) = alone.core.poll_command(alone.now) else {
        panic!("there is a last word");
    };
    assert!(alone.core.poll_command(alone.now).is_none());
    assert!(!alone.core.has_command());
    alone.core.published(last.ticket(), Ok(()));
    assert!(alone.core.has_command(), "it is over");

    // While others are given time to subscribe.
    let mut alone = Alone::new();
    alone.core.connected(alone.now);
    alone.subscribe();
    alone.core.leave(alone.now);
    assert!(alone.core.poll_command(alone.now).is_none());
    assert!(!alone.core.has_command());
}

#[test]
fn whoever_asks_whether_others_are_there_is_answered_at_once_and_once_a_second() {
    fn ask(alone: &mut Alone, node: u64, index: u32) {
        let asks = Alive {
            interval: Duration::from_secs(5),
            age: Duration::ZERO,
            load: Load::default(),
            asks: true,
            name: "".into(),
        };
        let all = alone.core.own.all();
        alone.receive_letter(&all, node, number(index), &Letter::alive(&asks));
    }
    fn beats(alone: &mut Alone) -> usize {
        let mut beats = 0;
        while let Some(command) = alone.core.poll_command(alone.now) {
            beats += 1;
            alone.answer(command);
        }
        beats
    }
    let mut alone = Alone::ready();
    alone.pass(1000);
    ask(&mut alone, 2, 0);
    assert_eq!(beats(&mut alone), 1);
    ask(&mut alone, 3, 0);
    ask(&mut alone, 2, 1);
    assert_eq!(
        beats(&mut alone),
        0,
        "no flood of questions is one of answers"
    );
    alone.pass(999);
    assert_eq!(beats(&mut alone), 0);
    alone.pass(1);
    assert_eq!(beats(&mut alone), 1);
    // Who does not ask is not answered.
    alone.pass(2000);
    let all = alone.core.own.all();
    alone.receive_letter(&all, 2, number(2), &alive("b", 1));
    assert_eq!(beats(&mut alone), 0);
    // Nor is anybody among very many.
    for node in 4..=101 {
        alone.receive_letter(&all, node, number(0), &alive("b", 1));
    }
    ask(&mut alone, 2, 3);
    assert_eq!(beats(&mut alone), 0);
}

#[test]
fn a_node_asks_who_is_there_until_what_it_keeps_leaves() {
    let [mut first, mut second] = two();
    first.connect();
    second.core.connected(second.now);
    second.subscribe();
    second.pass(100);
    // The first one answers: nobody waits for the next round.
    first.pass(1000);
    pass_on(&mut second, &mut first);
    assert!(first.core.has_command());
    pass_on(&mut first, &mut second);
    assert_eq!(second.core.counters().nodes, 2);
    second.pass(6000);
    assert!(second.core.has_command(), "its own heartbeat");
    first.pass(2000);
    while let Some(command) = first.core.poll_command(first.now) {
        first.answer(command);
    }
    pass_on(&mut second, &mut first);
    assert!(!first.core.has_command(), "it asks no more");
}
