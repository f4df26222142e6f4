//! A server with streams, and a break.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::cluster::topic::Topic;

fn string(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

/// Returns what `XREAD` returns of one entry in the first of the streams that were asked for.
fn entry(order: &Order, id: &str, topic: &Topic, envelope: &[u8]) -> Vec<u8> {
    entry_of(order, id, &[b"t", topic.as_bytes(), b"e", envelope])
}

/// As [`entry`], with any fields.
fn entry_of(order: &Order, id: &str, fields: &[&[u8]]) -> Vec<u8> {
    let count = format!("*{}\r\n", fields.len());
    let fields = fields.iter().map(|field| string(field));
    let fields = fields.collect::<Vec<_>>().concat();
    let streams = order.iter().position(|word| word == b"STREAMS").unwrap();
    let (key, id) = (string(&order[streams + 1]), string(id.as_bytes()));
    [
        b"%1\r\n",
        &key[..],
        b"*1\r\n*2\r\n",
        &id,
        count.as_bytes(),
        &fields,
    ]
    .concat()
}

fn answer(order: &Order) -> Option<Vec<u8>> {
    match &order[0][..] {
        b"XREVRANGE" => Some(b"*0\r\n".to_vec()),
        b"XADD" => Some(b"$3\r\n7-0\r\n".to_vec()),
        b"XREAD" if !has_word(order, b"BLOCK") => Some(b"_\r\n".to_vec()),
        b"XREAD" if order.ends_with(&vec![b"0-0".to_vec(); 16]) => {
            let envelope = [&[1, 1, 0, 0][..], &[0; 20], b"hello"].concat();
            Some(entry(order, "7-0", &topic("lobby"), &envelope))
        }
        b"XREAD" => Some(SILENCE.into()),
        _ => None,
    }
}

/// Returns the orders to read that wait for something to come.
fn reads(fake: &Fake) -> Vec<Order> {
    let mut orders = fake.orders("XREAD");
    orders.retain(|order| has_word(order, b"BLOCK"));
    orders
}

fn has_word(order: &Order, word: &[u8]) -> bool {
    order.iter().any(|other| other == word)
}

fn node(fake: &Fake) -> Node {
    Node::new(Redis::streams(&fake.url()).unwrap())
}

#[tokio::test]
async fn after_a_break_streams_are_read_from_where_it_was() {
    let fake = Fake::start(answer).await;
    let node = node(&fake);
    node.join("lobby");
    let has_delivery = |hub: &Hub| hub.with(|state, _| state.core.has_delivery());
    let (end, ()) = tokio::join!(node.run_to_end(), async {
        node.wait_until(has_delivery).await;
        node.wait_until(|_| reads(&fake).len() == 2).await;
        fake.hang_up().await;
    });
    assert!(end.unwrap_err().in_words().contains("127.0.0.1:"));
    node.hub.with(|state, now| state.core.lost(now));
    node.run_until(|_| reads(&fake).len() == 3).await;
    assert_eq!(fake.orders("XREVRANGE").len(), 16, "the ends were known");
    for order in &reads(&fake)[1..] {
        let ids = &order[order.len() - 16..];
        assert_eq!((&ids[0][..], &ids[1][..]), (&b"7-0"[..], &b"0-0"[..]));
    }
    let delivery = node
        .hub
        .with(|state, _| state.core.poll_delivery())
        .unwrap();
    assert_eq!(delivery.topic, topic("lobby"));
    assert_eq!(
        delivery.carried,
        Some(Carried::Message(Message::text("hello").into()))
    );
}

#[tokio::test]
async fn foreign_entries_are_passed_over_and_counted() {
    let fake = Fake::start(|order| match order.last().map(Vec::as_slice) {
        Some(b"0-0") if order[0] == b"XREAD" && order.ends_with(&vec![b"0-0".to_vec(); 16]) => {
            Some(entry_of(
                order,
                "7-0",
                &[b"t", b"topic", b"e", b"", b"x", b"y"],
            ))
        }
        _ => answer(order),
    })
    .await;
    let node = node(&fake);
    node.run_until(|_| reads(&fake).len() > 1).await;
    let orders = reads(&fake);
    let order = orders.last().unwrap();
    assert_eq!(&order[order.len() - 16][..], b"7-0", "it is read again");
    let malformed = node.hub.with(|state, _| state.core.counters().malformed);
    assert_eq!(malformed.truncated, 1);
}

#[tokio::test]
async fn what_is_published_is_an_entry_of_a_stream_of_the_cluster() {
    let fake = Fake::start(answer).await;
    let node = node(&fake);
    node.publish("lobby", "a");
    node.run_until(|hub| hub.with(|state, _| state.core.counters().confirmed) == 1)
        .await;
    let orders = fake.orders("XADD");
    let order = orders
        .iter()
        .find(|order| order[7] == topic("lobby").as_bytes())
        .unwrap();
    assert!(
        order[1].starts_with(b"shop:1:{") && order[1].ends_with(b"}"),
        "{order:?}"
    );
    let words = ["MAXLEN", "~", "10000", "*", "t"].map(|word| word.as_bytes().to_vec());
    assert_eq!(order[2..7], words);
    assert_eq!(&order[9][24..], b"a");
}

#[tokio::test]
async fn a_refusal_to_read_ends_it_and_says_why() {
    for verb in ["XREVRANGE", "XREAD"] {
        let fake = Fake::start(move |order| match order[0] == verb.as_bytes() {
            true => Some(b"-NOPERM this user has no permissions\r\n".to_vec()),
            false => answer(order),
        })
        .await;
        let error = node(&fake).run_to_end().await.unwrap_err();
        assert!(error.is_denied(), "{error:?}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_read_yet_is_no_connection() {
    let is_loading = Arc::new(AtomicBool::new(false));
    let loading = is_loading.clone();
    let fake = Fake::start(move |order| {
        let is_loading = order[0] == b"XREAD" && loading.load(Ordering::Relaxed);
        is_loading
            .then(|| b"-LOADING Redis is loading the dataset in memory\r\n".to_vec())
            .or_else(|| answer(order))
    })
    .await;
    let node = node(&fake);
    let is_connected = |hub: &Hub| hub.with(|state, _| state.core.is_connected());
    node.run_until(is_connected).await;
    node.hub.with(|state, now| state.core.lost(now));
    is_loading.store(true, Ordering::Relaxed);
    let words = node.run_to_end().await.unwrap_err().in_words();
    assert!(words.contains("LOADING"), "{words}");
    assert!(!is_connected(&node.hub), "it was taken for a connection");
}

#[tokio::test]
async fn what_there_is_no_room_for_is_left_where_it_is_for_a_while() {
    let fake = Fake::start(|order| {
        if order[0] != b"XREAD" || !has_word(order, b"BLOCK") {
            return answer(order);
        }
        // There is always one more.
        let last = str::from_utf8(&order[order.len() - 16]).unwrap();
        let last: u64 = last.trim_end_matches("-0").parse().unwrap();
        let envelope = [&[1, 1, 0, 0][..], &[0; 20], &[b'a'; 200_000]].concat();
        let id = format!("{}-0", last + 1);
        Some(entry(order, &id, &topic("lobby"), &envelope))
    })
    .await;
    let node = node(&fake);
    node.join("lobby");
    let is_half_full = |hub: &Hub| hub.is_half_full();
    let overrun = |hub: &Hub| hub.with(|state, _| state.core.counters().overrun);
    node.run_until_and(is_half_full, async |node| {
        tokio::time::pause();
        let wait = async |millis| {
            tokio::time::advance(std::time::Duration::from_millis(millis)).await;
            for _ in 0..100 {
                yield_now().await;
            }
        };
        let before = reads(&fake).len();
        wait(3000).await;
        assert_eq!(
            reads(&fake).len(),
            before,
            "it is read though there is no room"
        );
        // Some is delivered.
        for _ in 0..10 {
            node.hub.with(|state, _| {
                let delivery = state.core.poll_delivery().unwrap();
                state.core.delivered(&delivery.topic);
            });
        }
        wait(20).await;
        node.wait_until(|_| reads(&fake).len() > before + 5).await;
        node.wait_until(is_half_full).await;
        assert_eq!(overrun(&node.hub), 0);
        // Nothing is, for long: the own heartbeats have to come through.
        wait(20).await;
        wait(4000).await;
        node.wait_until(|hub| overrun(hub) > 0).await;
    })
    .await;
}

#[tokio::test]
async fn after_a_break_fewer_entries_are_asked_for() {
    let fake = Fake::start(answer).await;
    let node = node(&fake);
    for expected in ["32", "16", "8"] {
        let before = reads(&fake).len();
        node.run_until(|_| reads(&fake).len() == before + 1).await;
        assert_eq!(reads(&fake)[before][2], expected.as_bytes());
        node.hub.with(|state, now| state.core.lost(now));
    }
}
