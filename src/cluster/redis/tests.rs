//! What the driver does with a server that says this or that.

#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use std::sync::Arc;

use tokio::{net::TcpListener, task::yield_now};

use self::{
    fake::{Fake, HANG_UP, Order, SILENCE, hello, push},
    node::{Node, topic},
};
use super::*;
use crate::{
    cluster::{envelope::Carried, hub::Hub},
    protocol::Message,
};

mod cluster;
#[cfg(feature = "testing")]
mod counting;
mod fake;
mod node;
mod real;
mod secure;
mod streams;

/// Returns what a run against a server ends with, which gives this answer to `HELLO`.
async fn refusal(answer: &'static str) -> BackplaneError {
    let fake = Fake::start(move |order| (order[0] == b"HELLO").then(|| answer.into())).await;
    let url = format!("redis://:hunter2@127.0.0.1:{}", fake.port);
    let error = Node::new(Redis::new(&url).unwrap())
        .run()
        .await
        .unwrap_err();
    let words = error.in_words();
    assert!(
        words.contains(&format!("127.0.0.1:{}", fake.port)),
        "{words}"
    );
    assert!(!format!("{words} {error:?}").contains("hunter2"), "{words}");
    error
}

#[tokio::test]
async fn a_server_that_is_too_old_is_named_as_such() {
    for answer in [
        "-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n",
        "-ERR unknown command 'HELLO', with args beginning with: '3' \r\n",
        "-NOPROTO unsupported protocol version\r\n",
    ] {
        let error = refusal(answer).await;
        assert!(error.is_unsupported(), "{error:?}");
        assert!(error.in_words().contains("6.0 or later"), "{error:?}");
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_named_as_such_without_the_password() {
    for answer in [
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        "-NOAUTH HELLO must be called with the client already authenticated\r\n",
        "-NOPERM this user has no permissions to run the 'hello' command\r\n",
    ] {
        let error = refusal(answer).await;
        assert!(error.is_denied(), "{error:?}");
        assert!(error.in_words().contains(answer[1..].trim()), "{error:?}");
    }
}

#[tokio::test]
async fn a_replica_is_not_published_to() {
    let fake = Fake::start(|order| (order[0] == b"HELLO").then(|| hello("replica"))).await;
    let error = Node::of(&fake).run().await.unwrap_err();
    assert!(error.in_words().contains("it is a replica"), "{error:?}");
    fake.wait_until_open(0).await;
}

#[tokio::test]
async fn a_server_that_hangs_up_or_is_not_there_ends_it() {
    let fake = Fake::start(|order| (order[0] == b"HELLO").then(|| HANG_UP.into())).await;
    let node = Node::of(&fake);
    assert!(
        node.run()
            .await
            .unwrap_err()
            .in_words()
            .contains("127.0.0.1:")
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    let words = Node::new(Redis::new(&url).unwrap())
        .run()
        .await
        .unwrap_err()
        .in_words();
    assert!(words.contains("refused"), "{words}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_has_five_seconds() {
    let fake = Fake::start(|_| None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let node = Node::new(Redis::new(&format!("redis://{address}")).unwrap());
    let start = tokio::time::Instant::now();
    let words = node.run().await.unwrap_err().in_words();
    assert!(words.contains("timed out"), "{words}");
    assert_eq!(start.elapsed().as_secs(), 5);
    drop(fake);
}

#[tokio::test]
async fn a_server_that_stops_after_the_login_has_five_seconds_too() {
    // The login says which protocol it is to be; the question for the role does not.
    let fake = Fake::start(|order| (order.len() == 1).then(|| SILENCE.into())).await;
    let node = Node::of(&fake);
    let (end, start) = tokio::join!(node.run(), async {
        while fake.orders("HELLO").len() < 2 {
            yield_now().await;
        }
        tokio::time::pause();
        tokio::time::Instant::now()
    });
    let words = end.unwrap_err().in_words();
    assert!(words.contains("leaves a question open"), "{words}");
    // Some of it had passed before the clock stood.
    let waited = start.elapsed();
    assert!(waited.as_secs() <= 5, "{waited:?}");
}

#[tokio::test]
async fn what_is_published_arrives_in_its_order_in_one_piece_each() {
    let fake = Fake::start(|_| None).await;
    let node = Node::of(&fake);
    for number in 0..600 {
        node.publish("lobby", &number.to_string());
    }
    node.run_until(|hub| hub.with(|state, _| state.core.counters().confirmed) == 600)
        .await;
    let orders = fake.orders("PUBLISH");
    let to_lobby = orders
        .iter()
        .filter(|order| order[1] == topic("lobby").as_bytes());
    let payloads: Vec<_> = to_lobby.map(|order| order[2][24..].to_vec()).collect();
    let expected: Vec<_> = (0..600)
        .map(|number| number.to_string().into_bytes())
        .collect();
    assert_eq!(payloads, expected);
    assert!(
        orders
            .iter()
            .all(|order| order.len() == 3 && order[2][0] == 1)
    );
}

#[tokio::test]
async fn of_topics_asked_for_together_those_are_told_that_are_refused() {
    let is_secret = |order: &Order| order.iter().any(|word| word.ends_with(b"secret"));
    let fake = Fake::start(move |order| {
        let refused = order[0] == b"SUBSCRIBE" && is_secret(order);
        refused.then(|| b"-NOPERM this user has no permissions to access a channel\r\n".to_vec())
    })
    .await;
    let node = Node::of(&fake);
    for key in ["lobby", "secret", "hall"] {
        node.join(key);
    }
    let mut events = node.hub.events();
    // The node's own two, lobby and hall.
    node.run_until(|hub| hub.with(|state, _| state.core.counters().topics_subscribed) == 4)
        .await;
    let denied = futures_util::StreamExt::next(&mut events).await.unwrap();
    let denied = format!("{denied:?}");
    assert!(
        denied.contains("secret") && !denied.contains("lobby"),
        "{denied}"
    );
}

#[tokio::test]
async fn a_refused_envelope_is_told_and_the_connection_lives_on() {
    let fake = Fake::start(|order| {
        let refused = order[0] == b"PUBLISH" && order[1].ends_with(b"secret");
        refused.then(|| b"-NOPERM this user has no permissions to access a channel\r\n".to_vec())
    })
    .await;
    let node = Node::of(&fake);
    node.publish("secret", "a");
    node.publish("lobby", "b");
    let confirmed = |hub: &Hub| hub.with(|state, _| state.core.counters().confirmed);
    node.run_until(|hub| confirmed(hub) == 1).await;
    let counters = node.hub.with(|state, _| state.core.counters());
    assert_eq!(counters.refused.rejected, 1, "{counters:?}");
}

#[tokio::test]
async fn what_comes_goes_into_the_inlet_with_its_topic() {
    // Text, of somebody outside of the cluster.
    let envelope = [&[1, 1, 0, 0][..], &[0; 20], b"hello"].concat();
    let fake = Fake::start(move |order| {
        let lobby = topic("lobby");
        let is_lobby = order[0] == b"SUBSCRIBE" && order.iter().any(|it| it == lobby.as_bytes());
        let answers = order[1..]
            .iter()
            .flat_map(|topic| push("subscribe", topic, b"1"));
        let message = push("message", lobby.as_bytes(), &envelope);
        is_lobby.then(|| answers.chain(message).collect())
    })
    .await;
    let node = Node::of(&fake);
    node.join("lobby");
    node.run_until(|hub| hub.with(|state, _| state.core.has_delivery()))
        .await;
    let delivery = node
        .hub
        .with(|state, _| state.core.poll_delivery())
        .unwrap();
    assert_eq!(delivery.topic, topic("lobby"));
    assert_eq!(delivery.from, None);
    assert_eq!(
        delivery.carried,
        Some(Carried::Message(Message::text("hello").into()))
    );
}

#[tokio::test]
async fn a_broken_connection_of_the_two_ends_it() {
    for verb in ["PUBLISH", "SUBSCRIBE"] {
        let fake =
            Fake::start(move |order| (order[0] == verb.as_bytes()).then(|| HANG_UP.into())).await;
        let node = Node::of(&fake);
        node.publish("lobby", "a");
        let said = node.run_to_end().await.unwrap_err().in_words();
        assert!(
            said.contains("broke") && said.contains("127.0.0.1:"),
            "{said}"
        );
        fake.wait_until_open(0).await;
    }
    // Also while nothing is asked.
    let fake = Fake::start(|_| None).await;
    let node = Node::of(&fake);
    let is_connected = |hub: &Hub| hub.with(|state, _| state.core.is_connected());
    let (end, ()) = tokio::join!(node.run_to_end(), async {
        node.wait_until(is_connected).await;
        fake.hang_up().await;
    });
    let said = end.unwrap_err().in_words();
    assert!(
        said.contains("closed the connection that subscribes"),
        "{said}"
    );
    fake.wait_until_open(0).await;
}

#[tokio::test]
async fn giving_the_line_up_closes_both_connections() {
    let fake = Fake::start(|_| None).await;
    let node = Node::of(&fake);
    node.run_until(|hub| hub.with(|state, _| state.core.is_connected()))
        .await;
    fake.wait_until_open(0).await;
    assert_eq!(fake.orders("SUBSCRIBE").len(), 1);
}

#[tokio::test]
async fn leaving_ends_it_once_the_last_word_is_answered() {
    let fake = Fake::start(|_| None).await;
    let node = Node::of(&fake);
    node.publish("lobby", "a");
    let mut line = Line::new(node.hub.clone());
    let mut run = node.redis.run(&mut line);
    let mut leaving = false;
    let end = loop {
        tokio::select! {
            end = &mut run => break end,
            () = yield_now() => {}
        }
        node.hub.with(|state, now| {
            let _silence = state.core.handle_timeout(now);
            if state.core.is_connected() && !leaving {
                leaving = true;
                state.core.leave(now);
            }
        });
    };
    end.unwrap();
    let orders = fake.orders("PUBLISH");
    assert_eq!(orders.last().unwrap()[2][1], 8, "{orders:?}");
}

#[tokio::test]
async fn sentinels_are_asked_one_after_the_other() {
    let master = Fake::start(|_| None).await;
    let port = master.port.to_string();
    let address = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
    let knows =
        Fake::start(move |order| (order[0] == b"SENTINEL").then(|| address.clone().into())).await;
    let knows_not =
        Fake::start(|order| (order[0] == b"SENTINEL").then(|| b"*-1\r\n".to_vec())).await;
    let gone = Fake::start(|_| None).await.url();
    let urls = [gone, knows_not.url(), knows.url()];
    let node = Node::new(Redis::sentinel(&urls, "mymaster").unwrap());
    node.run_until(|hub| hub.with(|state, _| state.core.is_connected()))
        .await;
    assert_eq!(
        knows.orders("SENTINEL")[0][1..],
        [b"GET-MASTER-ADDR-BY-NAME".to_vec(), b"mymaster".to_vec()]
    );
    assert_eq!(master.orders("SUBSCRIBE").len(), 1);
    // Next time the one that knew is asked first.
    node.hub.with(|state, now| state.core.lost(now));
    node.run_until(|hub| hub.with(|state, _| state.core.is_connected()))
        .await;
    assert_eq!(
        (
            knows_not.orders("SENTINEL").len(),
            knows.orders("SENTINEL").len()
        ),
        (1, 2)
    );

    let node = Node::new(Redis::sentinel([knows_not.url()], "mymaster").unwrap());
    let words = node.run().await.unwrap_err().in_words();
    assert!(words.contains("knows no master called mymaster"), "{words}");
}

#[tokio::test]
async fn a_sentinel_that_was_wrong_is_asked_last() {
    let sentinel = async |port: u16| {
        let port = port.to_string();
        let address = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
        Fake::start(move |order| (order[0] == b"SENTINEL").then(|| address.clone().into())).await
    };
    let master = Fake::start(|_| None).await;
    let former = Fake::start(|order| (order[0] == b"HELLO").then(|| hello("replica"))).await;
    let gone = Fake::start(|_| None).await.port;
    let sentinels = [
        sentinel(former.port).await,
        sentinel(gone).await,
        sentinel(master.port).await,
    ];
    let urls = sentinels.iter().map(Fake::url);
    let node = Node::new(Redis::sentinel(urls, "mymaster").unwrap());
    node.run().await.unwrap_err();
    node.run().await.unwrap_err();
    node.run_until(|hub| hub.with(|state, _| state.core.is_connected()))
        .await;
    let asked = sentinels.map(|sentinel| sentinel.orders("SENTINEL").len());
    assert_eq!(asked, [1, 1, 1]);
}

#[test]
fn debug_shows_servers_and_no_password() {
    let redis = Redis::new("redis://user:hunter2@example.com").unwrap();
    let shown = format!("{redis:?}") + &format!("{:?}", redis.credentials("u", "hunter2"));
    assert!(
        shown.contains("example.com") && !shown.contains("hunter2"),
        "{shown}"
    );
    assert_eq!(
        Redis::sentinel([""; 0], "m").unwrap_err(),
        RedisUrlError::Missing
    );
}
