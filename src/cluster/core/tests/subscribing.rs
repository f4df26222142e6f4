//! From a connection to all that is wanted, and back.

use super::*;

fn own_topics(core: &Core<usize>) -> [Topic; 2] {
    [core.own.all(), core.own.node(core.id())]
}

#[test]
fn a_node_is_connected_once_all_that_is_wanted_is_subscribed() {
    let mut alone = Alone::new();
    for key in 0..600 {
        alone.core.add_interest(&topic(&key.to_string()), key);
    }
    assert_eq!(alone.core.interest().len(), 602);
    assert!(
        alone.core.poll_command(alone.now).is_none(),
        "there is no connection"
    );
    alone.core.connected(alone.now);
    let mut chunks = Vec::new();
    while let Some(Command::Subscribe(topics)) = alone.core.poll_command(alone.now) {
        chunks.push(topics);
    }
    assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [512, 90]);
    for own in own_topics(&alone.core) {
        assert!(chunks[0][..2].contains(&own), "the node's own come first");
    }
    alone.core.subscribed(&chunks[0], alone.now);
    assert!(alone.events().is_empty() && !alone.core.counters().connected);
    alone.core.subscribed(&chunks[1], alone.now);
    assert!(matches!(
        alone.events()[..],
        [CoreEvent::Connected { after: None }]
    ));
    let counters = alone.core.counters();
    assert!(counters.connected);
    assert_eq!((counters.reconnects, counters.topics_subscribed), (0, 602));
}

#[test]
fn after_a_break_it_says_how_long_there_was_no_connection() {
    let mut alone = Alone::ready();
    alone.core.lost(alone.now);
    assert!(matches!(alone.events()[..], [CoreEvent::Disconnected]));
    alone.pass(1000);
    // One that breaks before all is subscribed is none.
    alone.core.connected(alone.now);
    alone.core.lost(alone.now);
    alone.pass(1000);
    assert!(alone.events().is_empty());
    alone.core.connected(alone.now);
    alone.subscribe();
    let two = Duration::from_secs(2);
    let events = alone.events();
    assert!(matches!(events[..], [CoreEvent::Connected { after: Some(after) }] if after == two));
    assert_eq!(alone.core.counters().reconnects, 1);
}

#[test]
fn pauses_grow_until_a_connection_was_good() {
    let mut alone = Alone::new();
    let mut pauses: Vec<_> = (0..16).map(|_| alone.core.lost(alone.now)).collect();
    alone.core.connected(alone.now);
    pauses.push(alone.core.lost(alone.now));
    assert!(pauses[0] <= Duration::from_millis(250));
    for late in &pauses[11..] {
        assert!(*late >= Duration::from_millis(2500), "{late:?}");
    }
    alone.connect();
    assert!(alone.core.lost(alone.now) <= Duration::from_millis(250));
}

#[test]
fn who_joins_is_told_once_the_topic_is_subscribed() {
    let mut alone = Alone::ready();
    alone.core.add_interest(&topic("a"), 0);
    assert!(!alone.core.await_subscribed(&topic("a")));
    alone.subscribe();
    assert!(matches!(&alone.events()[..], [CoreEvent::Subscribed(told)] if *told == topic("a")));
    assert!(alone.core.await_subscribed(&topic("a")));
    // Over a break it has to be subscribed again.
    alone.core.lost(alone.now);
    assert!(!alone.core.await_subscribed(&topic("a")));
    alone.connect();
    assert!(alone.core.await_subscribed(&topic("a")));
}

#[test]
fn a_refused_subscription_is_told_and_does_not_hold_up_the_rest() {
    let mut alone = Alone::new();
    alone.core.add_interest(&topic("a"), 0);
    alone.core.connected(alone.now);
    let Some(Command::Subscribe(topics)) = alone.core.poll_command(alone.now) else {
        panic!("nothing is asked for");
    };
    alone.core.subscribed(&topics[..2], alone.now);
    alone
        .core
        .unsubscribed(&topics[2..], Lost::Denied, alone.now);
    let events = alone.events();
    let [CoreEvent::Denied(denied), CoreEvent::Connected { .. }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(denied[..], [topic("a")]);
    assert_eq!(alone.core.counters().topics_subscribed, 2);
    assert_eq!(alone.core.counters().topics_wanted, 3);
}

#[test]
fn where_heartbeats_may_not_be_subscribed_the_connection_is_kept() {
    let mut alone = Alone::new();
    alone.core.connected(alone.now);
    let Some(Command::Subscribe(topics)) = alone.core.poll_command(alone.now) else {
        panic!("nothing is asked for");
    };
    alone.core.unsubscribed(&topics, Lost::Denied, alone.now);
    alone.pass(250);
    for _ in 0..20 {
        while let Some(command) = alone.core.poll_command(alone.now) {
            match command {
                Command::Publish(publish) => alone.core.published(publish.ticket(), Ok(())),
                Command::Subscribe(topics) => {
                    alone.core.unsubscribed(&topics, Lost::Denied, alone.now);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(alone.pass(2000), None);
    }
}

#[test]
fn a_topic_that_moved_is_subscribed_again_and_what_was_missing_is_told() {
    let mut alone = Alone::ready();
    alone.core.add_interest(&topic("a"), 0);
    alone.subscribe();
    alone.receive("a", 2, 0, text("1"));
    alone
        .core
        .unsubscribed(&[topic("a")], Lost::Moved, alone.now);
    alone.subscribe();
    assert_eq!(alone.core.counters().topics_subscribed, 3);
    alone.receive("a", 2, 3, text("4"));
    let missed: Vec<_> = alone.deliveries().iter().map(|next| next.missed).collect();
    assert_eq!(missed, [0, 2]);
}

#[test]
fn members_that_come_and_go_within_five_seconds_cost_nothing() {
    let mut alone = Alone::ready();
    alone.core.add_interest(&topic("a"), 0);
    alone.subscribe();
    alone.core.remove_interest(&topic("a"), alone.now);
    alone.pass(3000);
    alone.core.add_interest(&topic("a"), 0);
    alone.core.remove_interest(&topic("a"), alone.now);
    alone.pass(4000);
    assert!(alone.core.interest.is_subscribed(&topic("a")));
    alone.pass(1000);
    let commands = std::iter::from_fn(|| alone.core.poll_command(alone.now));
    let given_up = commands.filter_map(|command| match command {
        Command::Unsubscribe(topics) => Some(topics),
        _ => None,
    });
    assert_eq!(given_up.collect::<Vec<_>>(), [[topic("a")]]);
}

#[test]
fn a_topic_that_cannot_be_reached_waits_until_it_is_subscribed_or_asked_for_again() {
    let mut alone = Alone::ready();
    alone.core.add_interest(&topic("a"), 0);
    alone.subscribe();
    alone
        .core
        .unsubscribed(&[topic("a")], Lost::Away, alone.now);
    assert!(alone.events().is_empty(), "nobody has denied it");
    assert_eq!(alone.core.counters().topics_subscribed, 2);
    assert!(alone.core.poll_command(alone.now).is_none());
    // What still comes is delivered.
    alone.receive("a", 2, 0, text("1"));
    assert_eq!(alone.deliveries().len(), 1);
    alone.core.subscribed(&[topic("a")], alone.now);
    assert_eq!(alone.core.counters().topics_subscribed, 3);

    alone
        .core
        .unsubscribed(&[topic("a")], Lost::Away, alone.now);
    let mut asked = 0;
    for _ in 0..16 {
        while let Some(command) = alone.core.poll_command(alone.now) {
            asked += usize::from(matches!(command, Command::Subscribe(_)));
            alone.answer(command);
        }
        assert_eq!(alone.pass(2000), None);
    }
    assert_eq!(asked, 1);
}
