use futures_util::FutureExt;

use crate::{
    Config, Groups,
    cluster::{Cluster, Memory},
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
