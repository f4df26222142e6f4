//! Nodes on a real Redis count the members of a group.

use std::time::Duration;

use tokio::{task::yield_now, time::timeout};

use super::real::{Real, USERS};
use crate::{
    Config, Groups,
    cluster::{Cluster, Redis},
    testing,
};

#[tokio::test]
async fn members_of_all_nodes_are_counted() {
    let Some(real) = Real::start(&USERS).await else {
        return;
    };
    let channels = || Redis::new(&real.url("node:p1")).unwrap();
    let streams = || Redis::streams(&(real.url("streams:p4") + "2")).unwrap();
    for engines in [[channels(), channels()], [streams(), streams()]] {
        let nodes = engines.map(|engine| {
            let cluster = Cluster::start("shop", engine);
            let rooms: Groups = Groups::builder().cluster(&cluster, "rooms").build();
            let (client, server) = testing::pair(Config::default());
            let member = rooms.join("lobby".to_owned(), &server.sender()).unwrap();
            (rooms, member, client, server)
        });
        for (rooms, ..) in &nodes {
            let counted = async {
                // They may not know each other yet, and the machine may be busy for a second.
                loop {
                    let count = rooms.count("lobby").await;
                    if (count.nodes, count.missing) == (2, 0) {
                        return count.members;
                    }
                    yield_now().await;
                }
            };
            let most = Duration::from_secs(60);
            assert_eq!(timeout(most, counted).await.unwrap(), 2);
        }
    }
}
