//! Groups over many nodes, as an application has them.

mod addresses;
mod closing;
mod counting;
mod engines;
mod farewell;
mod gaps;
mod joining;
mod leaving;
mod nodes;
mod sending;
mod wire;

use std::{array, time::Duration};

use futures_util::FutureExt;
use tokio::time::sleep;
use tower_websocket::{
    Config, Groups, WebSocket,
    cluster::{Cluster, ClusterBuilder, ClusterEvent, ClusterEvents, Memory},
    groups::Membership,
};

use crate::session::support::{Frame, Peer, Reports, Shape, hold, idle, within};

/// A process of an application.
struct Node {
    link: Memory,
    cluster: Cluster,
    rooms: Groups,
}

impl Node {
    fn on(link: Memory) -> Self {
        Self::with(link, |builder| builder)
    }

    fn with(link: Memory, settings: impl FnOnce(ClusterBuilder) -> ClusterBuilder) -> Self {
        let cluster = settings(Cluster::builder("shop")).start(link.clone());
        let rooms = Groups::builder().cluster(&cluster, "rooms").build();
        Self {
            link,
            cluster,
            rooms,
        }
    }

    /// A member of a group here, to which all nodes send from now on.
    async fn member(&self, key: &str) -> Member {
        self.member_over(Shape::H1, key).await
    }

    async fn member_over(&self, shape: Shape, key: &str) -> Member {
        let member = self.joined(shape, key).await;
        within(member.membership.subscribed()).await;
        member
    }

    /// A member of a group here, of which other nodes may not know yet.
    async fn joined(&self, shape: Shape, key: &str) -> Member {
        let (peer, socket, reports) = hold(shape, patient()).await;
        let membership = self.rooms.join(key.to_owned(), &socket.sender()).unwrap();
        Member {
            peer,
            socket,
            membership,
            _reports: reports,
        }
    }
}

/// Settings of a connection whose peer is never asked whether it is there.
fn patient() -> Config {
    Config::default().ping_interval(None)
}

/// A connection in a group.
struct Member {
    peer: Peer,
    socket: WebSocket,
    membership: Membership,
    _reports: Reports,
}

impl Member {
    /// The next message, which has to come.
    async fn text(&mut self) -> String {
        let frame = self.peer.frame().await;
        assert_eq!(frame.first, 0x81, "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    async fn texts<const N: usize>(&mut self) -> [String; N] {
        let mut texts = array::from_fn(|_| String::new());
        for text in &mut texts {
            *text = self.text().await;
        }
        texts
    }

    /// Nothing has come.
    async fn quiet(&mut self) {
        idle().await;
        let next = self.peer.next().now_or_never();
        assert!(next.is_none(), "{next:?}");
    }

    /// The code of the Close frame, which comes next.
    async fn closed(&mut self) -> Option<u16> {
        let frame: Frame = self.peer.frame().await;
        frame.code()
    }
}

/// Nodes of one cluster, which know each other.
async fn nodes<const N: usize>() -> [Node; N] {
    let all = links().map(Node::on);
    ready(&all).await;
    all
}

/// Links to one engine.
fn links<const N: usize>() -> [Memory; N] {
    let first = Memory::new();
    array::from_fn(|place| {
        if place == 0 {
            first.clone()
        } else {
            first.link()
        }
    })
}

/// Waits until all are connected, and what they send leaves at once.
async fn ready(nodes: &[Node]) {
    for node in nodes {
        within(node.cluster.connected()).await;
    }
    sleep(SETTLING).await;
}

/// Longer than a node holds back what it sends after it has connected.
const SETTLING: Duration = Duration::from_millis(300);

/// The next event for which `is_it`; what comes before is passed over.
async fn event(events: &mut ClusterEvents, is_it: impl Fn(&ClusterEvent) -> bool) -> ClusterEvent {
    within(async {
        loop {
            let event = events.recv().await;
            if is_it(&event) {
                return event;
            }
        }
    })
    .await
}

/// All events that have come.
fn events_so_far(events: &mut ClusterEvents) -> Vec<ClusterEvent> {
    std::iter::from_fn(|| events.recv().now_or_never()).collect()
}
