use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::time::sleep;

use super::*;
use crate::{
    Config, Groups,
    cluster::{Cluster, Gap, Memory, Promises, line::Line, node_id::NodeId, topic::TopicPrefix},
    testing,
};

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_waiting_is_forgotten() {
    let link = Memory::new();
    link.cut();
    let cluster = Cluster::start("shop", link);
    let rooms: Groups<u8> = Groups::builder().cluster(&cluster, "rooms").build();
    let (_client, server) = testing::pair(Config::default());
    let membership = rooms.join(1, &server.sender()).unwrap();
    for _ in 0..10_000 {
        assert!(membership.subscribed().now_or_never().is_none());
    }
    let state = cluster.hub().state.lock();
    let waiting = state.subscribed.values().map(Vec::len).sum::<usize>();
    assert!(waiting < 10, "{waiting}");
}

#[tokio::test(start_paused = true)]
async fn groups_that_are_gone_are_forgotten_when_others_are_made() {
    let cluster = Cluster::start("shop", Memory::new());
    for _ in 0..1000 {
        let _gone: Groups<u8> = Groups::builder().cluster(&cluster, "rooms").build();
    }
    assert_eq!(cluster.hub().state.lock().spans.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_whoever_counts_and_of_whoever_stops_counting() {
    let link = Memory::new();
    let near = Cluster::start("shop", link.clone());
    let far = Cluster::start("shop", link.link());
    let rooms: Groups<u32> = Groups::builder().cluster(&near, "rooms").build();
    sleep(Duration::from_millis(500)).await;
    link.delay(Duration::from_millis(100));
    let counted = || near.hub().state.lock().counted.len();
    for _ in 0..100 {
        let [first, second] = [rooms.count(&1), rooms.count(&1)];
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(counted(), 1, "somebody waits");
        drop(second);
        assert_eq!(counted(), 0);
    }
    assert_eq!(rooms.count(&1).await.nodes, 2);
    assert_eq!(counted(), 0);
    drop(far);
}

/// A group with members, to which nothing comes.
struct Deaf;

impl Deliver for Deaf {
    fn deliver(self: Arc<Self>, _: Parcel) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async {})
    }

    fn missed(self: Arc<Self>, _: Gap) {}

    fn members(&self) -> usize {
        0
    }
}

#[test]
fn others_have_their_turn_between_two_commands_about_many_topics() {
    let (id, start) = (NodeId::new(1).unwrap(), Instant::now());
    let core = Core::new("shop", <_>::default(), Promises::default(), id, 1, start).unwrap();
    let hub = Arc::new(Hub::new(core));
    let rooms = TopicPrefix::new("shop", "rooms").unwrap();
    let group = Arc::new(Deaf);
    for key in 0..2000 {
        let topic = rooms.topic(format!("{key}").as_bytes()).unwrap();
        let group: Weak<dyn Deliver> = Arc::<Deaf>::downgrade(&group);
        hub.wake(hub.want(&topic, group));
    }
    let mut line = Line::new(hub.clone());
    line.connected();
    assert_eq!(line.interest().len(), 2002);
    let mut topics = Vec::new();
    while topics.len() < 2002 {
        let Some(Command::Subscribe(chunk)) = line.next().now_or_never() else {
            panic!("there is more to subscribe to");
        };
        topics.extend(chunk);
        // Dropped, it loses nothing.
        assert!(line.next().now_or_never().is_none(), "others first");
    }
    line.subscribed(&topics);
    assert!(hub.with(|state, _| state.core.is_connected()));
}
