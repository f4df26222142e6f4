//! Two masters that say who has which slot.

use std::sync::Mutex;

use super::{fake::SILENCE, *};
use crate::cluster::redis::partitions::Partition;

mod breaks;

/// Two masters, of which each has half of the slots, and what was moved to the other.
struct Two {
    masters: [Fake; 2],
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    ports: [u16; 2],
    /// Topics whose partitions belong to the other one.
    moved: Vec<Partition>,
    /// A master answers nothing to what is published.
    silent: Option<usize>,
    /// The next answers of the first master to a verb.
    next: Option<(&'static str, Vec<u8>)>,
    /// The first master closes connections that subscribe.
    hangs_up: bool,
}

impl State {
    fn owner(&self, partition: Partition) -> usize {
        let half = usize::from(partition.slot() >= 8192);
        half ^ usize::from(self.moved.contains(&partition))
    }

    /// Returns what `CLUSTER SHARDS` does.
    fn shards(&self) -> Vec<u8> {
        let shards = [0, 1].map(|number| {
            let owned = Partition::all().filter(|partition| self.owner(*partition) == number);
            let slots = owned.map(|partition| format!(":{0}\r\n:{0}\r\n", partition.slot()));
            let slots = slots.collect::<Vec<_>>();
            let node = format!(
                "%4\r\n+role\r\n+master\r\n+health\r\n+online\r\n+ip\r\n+127.0.0.1\r\n+port\r\n:{}\r\n",
                self.ports[number]
            );
            let (count, slots) = (2 * slots.len(), slots.concat());
            format!("%2\r\n+slots\r\n*{count}\r\n{slots}+nodes\r\n*1\r\n{node}")
        });
        format!("*2\r\n{}", shards.concat()).into_bytes()
    }

    fn answer(&mut self, number: usize, order: &Order) -> Option<Vec<u8>> {
        let is_next = |(verb, _): &mut (&str, _)| number == 0 && order[0] == verb.as_bytes();
        if let Some((_, answer)) = self.next.take_if(is_next) {
            return Some(answer);
        }
        match &order[0][..] {
            b"SSUBSCRIBE" if self.hangs_up && number == 0 => Some(HANG_UP.into()),
            b"CLUSTER" => Some(self.shards()),
            b"SPUBLISH" if self.silent == Some(number) => Some(SILENCE.into()),
            b"SPUBLISH" | b"SSUBSCRIBE" => {
                let partition = Partition::of(in_channel(&order[1]));
                let owner = self.owner(partition);
                let (slot, port) = (partition.slot(), self.ports[owner]);
                let moved = format!("-MOVED {slot} 127.0.0.1:{port}\r\n");
                (owner != number).then(|| moved.into())
            }
            _ => None,
        }
    }
}

/// Returns the topic in a channel, without its tag.
fn in_channel(channel: &[u8]) -> &[u8] {
    let end = channel.iter().position(|byte| *byte == b'}').unwrap();
    &channel[end + 1..]
}

impl Two {
    async fn start() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let master = async |number| {
            let state = state.clone();
            Fake::start(move |order| state.lock().unwrap().answer(number, order)).await
        };
        let masters = [master(0).await, master(1).await];
        state.lock().unwrap().ports = [masters[0].port, masters[1].port];
        Self { masters, state }
    }

    fn node(&self) -> Node {
        Node::new(Redis::cluster([self.masters[0].url()]).unwrap())
    }

    fn move_topic(&self, key: &str) {
        let partition = Partition::of(topic(key).as_bytes());
        self.state.lock().unwrap().moved.push(partition);
    }

    /// Moves a topic, of which the first master says that it is not subscribed there any more.
    async fn take_away(&self, key: &str) {
        self.move_topic(key);
        self.masters[0]
            .say(&push("sunsubscribe", &Self::channel(key), b"0"))
            .await;
    }

    fn channel(key: &str) -> Vec<u8> {
        let topic = topic(key);
        let tag = Partition::of(topic.as_bytes()).tag();
        [tag.as_bytes(), topic.as_bytes()].concat()
    }

    /// Has the first master answer this to a verb, once.
    fn answer_next(&self, verb: &'static str, answer: Vec<u8>) {
        self.state.lock().unwrap().next = Some((verb, answer));
    }

    /// Returns how often somebody connected to the first master.
    fn connections(&self) -> usize {
        let logins = self.masters[0].orders("HELLO").into_iter();
        logins.filter(|order| order.len() > 1).count()
    }

    /// Returns a key whose topic belongs to a master at first.
    fn key(number: usize) -> String {
        Self::keys(number).next().unwrap()
    }

    fn keys(number: usize) -> impl Iterator<Item = String> {
        let is_there = move |key: &String| {
            let partition = Partition::of(topic(key).as_bytes());
            State::default().owner(partition) == number
        };
        (0..).map(|key: u32| key.to_string()).filter(is_there)
    }

    /// Returns what was published to a topic at a master, whether or not it took it.
    fn published(&self, number: usize, key: &str) -> Vec<String> {
        let topic = topic(key);
        let orders = self.masters[number].orders("SPUBLISH").into_iter();
        let orders = orders.filter(|order| in_channel(&order[1]) == topic.as_bytes());
        orders
            .map(|order| String::from_utf8(order[2][24..].into()).unwrap())
            .collect()
    }

    fn subscribed(&self, number: usize, key: &str) -> usize {
        let topic = topic(key);
        let orders = self.masters[number].orders("SSUBSCRIBE").into_iter();
        orders
            .filter(|order| in_channel(&order[1]) == topic.as_bytes())
            .count()
    }
}

fn confirmed(hub: &Hub) -> u64 {
    hub.with(|state, _| state.core.counters().confirmed)
}

fn subscribed(hub: &Hub) -> u64 {
    hub.with(|state, _| state.core.counters().topics_subscribed)
}

#[tokio::test]
async fn each_topic_is_at_its_own_master() {
    let two = Two::start().await;
    let (node, keys) = (two.node(), [Two::key(0), Two::key(1)]);
    for key in &keys {
        node.join(key);
        node.publish(key, "a");
    }
    node.run_until(|hub| confirmed(hub) == 2 && subscribed(hub) == 4)
        .await;
    for number in [0, 1] {
        assert_eq!(two.published(number, &keys[number]), ["a"]);
        assert_eq!(two.published(1 - number, &keys[number]), [""; 0]);
        assert_eq!(two.subscribed(number, &keys[number]), 1);
    }
    let tag = Partition::of(topic(&keys[0]).as_bytes()).tag();
    let channel = [tag.as_bytes(), topic(&keys[0]).as_bytes()].concat();
    assert!(
        two.masters[0]
            .orders("SSUBSCRIBE")
            .iter()
            .any(|order| order[1] == channel)
    );
}

#[tokio::test]
async fn what_comes_from_a_master_goes_into_the_inlet_without_the_tag() {
    let two = Two::start().await;
    let (node, key) = (two.node(), Two::key(0));
    node.join(&key);
    node.run_until_and(
        |hub| subscribed(hub) == 3,
        async |node| {
            let topic = topic(&key);
            let tag = Partition::of(topic.as_bytes()).tag();
            let envelope = [&[1, 1, 0, 0][..], &[0; 20], b"hello"].concat();
            let channel = [tag.as_bytes(), topic.as_bytes()].concat();
            two.masters[0]
                .say(&push("smessage", &channel, &envelope))
                .await;
            node.wait_until(|hub| hub.with(|state, _| state.core.has_delivery()))
                .await;
        },
    )
    .await;
    let delivery = node
        .hub
        .with(|state, _| state.core.poll_delivery())
        .unwrap();
    assert_eq!(delivery.topic, topic(&key));
}

#[tokio::test]
async fn what_is_published_while_its_slot_moves_arrives_at_the_new_master_in_order() {
    let two = Two::start().await;
    let (node, key) = (two.node(), Two::key(0));
    node.run_until_and(
        |hub| subscribed(hub) == 2,
        async |node| {
            two.move_topic(&key);
            for number in 0..600 {
                node.publish(&key, &number.to_string());
                if number % 7 == 0 {
                    yield_now().await;
                }
            }
            node.wait_until(|hub| confirmed(hub) == 600).await;
        },
    )
    .await;
    let expected: Vec<_> = (0..600).map(|number| number.to_string()).collect();
    assert_eq!(two.published(1, &key), expected);
    assert!(
        !two.published(0, &key).is_empty(),
        "nothing had to be sent again"
    );
}

#[tokio::test]
async fn nothing_goes_to_a_new_master_before_the_old_one_has_answered() {
    let two = Two::start().await;
    let (node, key) = (two.node(), Two::key(0));
    node.join(&key);
    node.run_until_and(
        |hub| subscribed(hub) == 3,
        async |node| {
            two.state.lock().unwrap().silent = Some(0);
            node.publish(&key, "0");
            node.wait_until(|_| !two.published(0, &key).is_empty())
                .await;
            two.take_away(&key).await;
            node.wait_until(|_| two.subscribed(1, &key) > 0).await;
            for number in 1..5 {
                node.publish(&key, &number.to_string());
            }
            node.wait_until(|hub| confirmed(hub) == 5).await;
        },
    )
    .await;
    assert_eq!(two.published(1, &key), ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_topic_that_the_server_takes_away_is_subscribed_where_it_is_now() {
    let two = Two::start().await;
    let (node, moved) = (two.node(), Two::key(0));
    let stays = Two::keys(0).nth(1).unwrap();
    node.join(&moved);
    node.join(&stays);
    let mut events = node.hub.events();
    node.run_until_and(
        |hub| subscribed(hub) == 4,
        async |node| {
            two.take_away(&moved).await;
            node.wait_until(|_| two.subscribed(1, &moved) > 0).await;
            node.wait_until(|hub| subscribed(hub) == 4).await;
        },
    )
    .await;
    let mut happened = Vec::new();
    while let Some(Some(event)) =
        futures_util::FutureExt::now_or_never(futures_util::StreamExt::next(&mut events))
    {
        happened.push(format!("{event:?}"));
    }
    assert!(
        happened.iter().all(|event| event.starts_with("Connected")),
        "{happened:?}"
    );
}

#[tokio::test]
async fn a_subscription_that_is_given_up_is_not_taken_for_one_that_was_taken_away() {
    let two = Two::start().await;
    let (node, keys) = (two.node(), [Two::key(0), Two::key(1)]);
    keys.iter().for_each(|key| node.join(key));
    node.run_until_and(
        |hub| subscribed(hub) == 4,
        async |node| {
            let before = two.masters[0].orders("HELLO").len();
            node.hub
                .with(|state, now| state.core.remove_interest(&topic(&keys[0]), now));
            node.wait_until(|_| two.masters[0].orders("SUNSUBSCRIBE").len() == 1)
                .await;
            // Something that is answered after it.
            node.join(&keys[0]);
            node.wait_until(|hub| subscribed(hub) == 4).await;
            assert_eq!(two.masters[0].orders("HELLO").len(), before);
            assert_eq!(two.subscribed(0, &keys[0]), 2);
        },
    )
    .await;
}

#[tokio::test]
async fn a_master_that_is_gone_or_silent_holds_up_none_of_the_others() {
    for is_silent in [false, true] {
        let mut two = Two::start().await;
        let (node, keys) = (two.node(), [Two::key(0), Two::key(1)]);
        keys.iter().for_each(|key| node.join(key));
        let rejected = |hub: &Hub| hub.with(|state, _| state.core.counters().refused.rejected);
        node.run_until_and(
            |hub| subscribed(hub) == 4,
            async |node| {
                match is_silent {
                    true => two.state.lock().unwrap().silent = Some(1),
                    false => drop(std::mem::replace(
                        &mut two.masters[1],
                        Fake::start(|_| None).await,
                    )),
                }
                for number in 0..2000 {
                    node.publish(&keys[number % 2], "a");
                }
                node.wait_until(|hub| confirmed(hub) == 1000 && rejected(hub) == 1000)
                    .await;
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_server_without_a_cluster_is_named_as_such() {
    for answer in [
        "-ERR This instance has cluster support disabled\r\n",
        "-ERR unknown subcommand 'SHARDS'. Try CLUSTER HELP.\r\n",
        "-ERR Unknown subcommand or wrong number of arguments for 'SHARDS'\r\n",
        "*0\r\n",
    ] {
        let fake = Fake::start(move |order| (order[0] == b"CLUSTER").then(|| answer.into())).await;
        let node = Node::new(Redis::cluster([fake.url()]).unwrap());
        let error = node.run().await.unwrap_err();
        assert!(error.is_unsupported(), "{error:?}");
    }
    let gone = Fake::start(|_| None).await.url();
    let node = Node::new(Redis::cluster([gone]).unwrap());
    assert!(!node.run().await.unwrap_err().is_unsupported());
}
