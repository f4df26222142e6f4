//! A node of a test: a cluster, groups, and members in memory.

use std::time::Duration;

use tokio::time::timeout;
use tower_websocket::{
    Config, Groups, Message, WebSocket,
    cluster::{Cluster, ClusterBuilder, ClusterEvent, ClusterEvents, Nats, PublishError, Topic},
    groups::Membership,
    testing,
};

pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    pub(crate) rooms: Groups<Vec<u8>>,
    pub(crate) events: ClusterEvents,
}

/// A member, and the client's end of its connection.
pub(crate) struct Member {
    client: WebSocket,
    _server: WebSocket,
    pub(crate) membership: Membership<Vec<u8>>,
}

impl Node {
    /// Starts a node, and does not wait for the engine.
    pub(crate) fn start(nats: Nats) -> Self {
        Self::with(nats, |builder| builder)
    }

    pub(crate) fn with(nats: Nats, set: impl FnOnce(ClusterBuilder) -> ClusterBuilder) -> Self {
        let cluster = set(Cluster::builder("shop")).start(nats);
        let events = cluster.events();
        Self {
            rooms: Groups::builder().cluster(&cluster, "rooms").build(),
            events,
            cluster,
        }
    }

    /// Starts a node at these servers, and waits until it is connected.
    pub(crate) async fn connected(urls: &str) -> Self {
        let node = Self::start(Nats::new(urls).unwrap());
        within("connecting", node.cluster.connected()).await;
        node
    }

    /// Adds a member to a room, and waits until the node is subscribed.
    pub(crate) async fn member(&self, room: &[u8]) -> Member {
        let member = self.member_at_once(room);
        within("subscribing", member.membership.subscribed()).await;
        member
    }

    pub(crate) fn member_at_once(&self, room: &[u8]) -> Member {
        let (client, server) = testing::pair(Config::default());
        let membership = self.rooms.join(room.to_vec(), &server.sender()).unwrap();
        Member {
            client,
            _server: server,
            membership,
        }
    }

    /// Adds a member to each of so many rooms, and waits until the node is subscribed.
    pub(crate) async fn members(&self, rooms: u32) -> Vec<Member> {
        let members: Vec<_> = (0..rooms)
            .map(|room| self.member_at_once(&room.to_be_bytes()))
            .collect();
        for member in &members {
            within("subscribing", member.membership.subscribed()).await;
        }
        members
    }

    /// Sends to a room, and waits until the engine has it.
    pub(crate) async fn send(&self, room: &[u8], text: &str) -> Result<(), PublishError> {
        let sending = self.rooms.broadcast_confirmed(room, text);
        within("confirming", sending).await.map(drop)
    }

    /// Waits for an event that is wanted.
    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(ClusterEvent) -> Option<T>) -> T {
        let waiting = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await) {
                    return found;
                }
            }
        };
        within("an event", waiting).await
    }

    /// Waits until subscriptions are refused, and returns their topics.
    pub(crate) async fn denied(&mut self) -> Vec<Topic> {
        let wanted = |event| match event {
            ClusterEvent::Denied(topics) => Some(topics),
            _ => None,
        };
        self.event(wanted).await
    }

    /// Waits until there is no connection, and returns why.
    pub(crate) async fn down(&mut self) -> Down {
        let wanted = |event| match event {
            ClusterEvent::Disconnected(error) | ClusterEvent::Unreachable(error) => Some(error),
            _ => None,
        };
        let error = self.event(wanted).await;
        let (is_denied, is_unsupported) = (error.is_denied(), error.is_unsupported());
        Down {
            words: in_words(&error),
            is_denied,
            is_unsupported,
        }
    }

    /// Waits until there is a connection again.
    pub(crate) async fn up(&mut self) {
        self.event(|event| matches!(event, ClusterEvent::Connected { .. }).then_some(()))
            .await;
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) words: String,
    pub(crate) is_denied: bool,
    pub(crate) is_unsupported: bool,
}

impl Member {
    /// Returns what the client hears next.
    pub(crate) async fn hears(&mut self) -> String {
        let message = within("a message", self.client.recv()).await;
        match message.unwrap().unwrap() {
            Message::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

/// Returns an error with its sources.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(&format!(": {error}"));
        source = error.source();
    }
    words
}

/// Waits for what has to come; how long it may take says nothing of how fast it is.
pub(crate) async fn within<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    match timeout(Duration::from_secs(30), waiting).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within 30 seconds"),
    }
}
