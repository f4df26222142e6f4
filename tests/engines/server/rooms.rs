//! The groups of a server, and what a client does in them.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use tower::BoxError;
use tower_websocket::{
    CloseCode, Groups, Message, WebSocket,
    groups::{Key, Membership},
};

use super::{engine::Engine, planted::Planted};

#[derive(Clone)]
pub(super) struct Rooms {
    groups: Groups,
    /// Very many, of which nobody takes the events.
    many: Groups<u32>,
    engine: Engine,
}

impl Rooms {
    pub(super) fn new(engine: &Engine) -> Self {
        let (groups, many) = match &engine.cluster {
            Some(cluster) => (
                Groups::builder().cluster(cluster, "rooms").build(),
                Groups::builder().cluster(cluster, "many").build(),
            ),
            None => (Groups::new(), Groups::new()),
        };
        if engine.cluster.is_some() {
            tokio::spawn(engine.clone().listen_to(groups.clone()));
        }
        Self {
            groups,
            many,
            engine: engine.clone(),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.groups.len() + self.many.len()
    }

    /// Counts the members of the first group, on all servers: members, servers, and those that did not answer.
    pub(super) async fn count_members(&self) -> Value {
        let count = self.groups.count("0").await;
        json!([count.members, count.nodes, count.missing])
    }

    /// Serves a member of a group: what it sends, all members get, on whatever node.
    pub(super) async fn serve(self, mut socket: WebSocket, group: String) -> Result<(), BoxError> {
        let mut membership = self.groups.join(group.clone(), &socket.sender())?;
        socket.send("joined").await?;
        let planted = Planted::in_group(&group).filter(|_| self.engine.is_planted());
        let (mut number, mut kept) = (0, None);
        while let Some(message) = socket.recv().await? {
            number += 1;
            match planted {
                Some(Planted::One) if number == FROM => {
                    membership.leave();
                    sleep(Duration::from_millis(60)).await;
                    membership = self.groups.join(group.clone(), &socket.sender())?;
                    self.say(&group, message).await;
                }
                Some(Planted::Slow) if number == FROM => {
                    sleep(Duration::from_millis(1200)).await;
                    self.say(&group, message).await;
                }
                Some(planted) if number >= FROM && number % SOME == 0 => {
                    self.do_wrong(planted, &socket, &group, message, &mut kept)
                        .await?;
                }
                _ => self.say(&group, message).await,
            }
            if let Some(kept) = kept.take_if(|_| number % SOME == 1) {
                self.say(&group, kept).await;
            }
        }
        drop(membership);
        Ok(())
    }

    /// Serves a member of very many groups.
    pub(super) async fn serve_many(
        self,
        mut socket: WebSocket,
        count: u32,
    ) -> Result<(), BoxError> {
        let mut memberships = Vec::new();
        for number in 0..count {
            memberships.push(self.many.join(number, &socket.sender())?);
            if number % 64 == 0 {
                yield_now().await;
            }
        }
        for membership in &memberships {
            subscribed(membership).await?;
        }
        socket.send("joined").await?;
        while socket.recv().await?.is_some() {}
        Ok(())
    }

    async fn say(&self, group: &str, message: Message) {
        let delivery = self.groups.broadcast(group, message).await;
        self.engine.broadcast(delivery);
    }

    async fn do_wrong(
        &self,
        planted: Planted,
        socket: &WebSocket,
        group: &str,
        message: Message,
        kept: &mut Option<Message>,
    ) -> Result<(), BoxError> {
        match planted {
            Planted::Lose => {}
            Planted::Double => {
                self.say(group, message.clone()).await;
                self.say(group, message).await;
            }
            Planted::Swap => *kept = Some(message),
            Planted::Slow | Planted::One => self.say(group, message).await,
            Planted::Close => socket.close(CloseCode::GOING_AWAY),
            Planted::Keep => {
                tokio::spawn(std::future::pending::<()>());
                self.say(group, message).await;
            }
        }
        Ok(())
    }
}

/// Waits until other nodes' messages to a group arrive.
async fn subscribed<K: Key>(membership: &Membership<K>) -> Result<(), BoxError> {
    Ok(timeout(SUBSCRIBED_WITHIN, membership.subscribed()).await?)
}

/// Longer than there is no engine in any scenario.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(60);

/// So many of a client are served well.
const FROM: u32 = 20;

/// From then on, every so many of its messages what is planted happens.
const SOME: u32 = 7;
