//! The same to all connections of a registry.

use tokio::task::yield_now;

use super::{
    content::Broadcast,
    delivery::Delivery,
    group::flush_soon,
    unwoken::{STRETCH, Unwoken},
};
use crate::{
    error::TrySendError,
    protocol::{CloseCode, CloseFrame},
    session::{Asleep, Connections, Sender},
};

/// The policy for a connection whose send queue is full when a message is [broadcast to all](Connections::broadcast).
///
/// To keep messages beside a full queue, have the connections join a group: see
/// [`SlowMember`](super::SlowMember).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SlowConnection {
    /// The connection is closed.
    ///
    /// It is the default, with code 1013 and "too slow to keep up".
    Close(CloseFrame),
    /// The connection does not get the message.
    DropNewest,
}

impl Default for SlowConnection {
    fn default() -> Self {
        Self::Close((CloseCode::TRY_AGAIN_LATER, "too slow to keep up").into())
    }
}

impl Connections {
    /// Sends a message to every connection that is open.
    ///
    /// The message is encoded once, and compressed once, for all of them. The call waits for broadcasts that began before, so
    /// that all connections get them in the same order, and yields to the runtime after every 60 connections. It never waits
    /// for a connection: `slow` decides what happens to those that do not keep up. A connection that opens meanwhile may get
    /// the message or not. The connections are those of this process.
    ///
    /// ```
    /// use tower_websocket::{Connections, groups::SlowConnection};
    ///
    /// async fn announce(connections: &Connections) {
    ///     let text = "there will be a pause at noon";
    ///     let delivery = connections.broadcast(text, SlowConnection::DropNewest).await;
    ///     println!("{} of them know", delivery.sent);
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the broadcast: some connections have got the message, others will not. A future that
    /// was polled, and is neither polled on nor dropped, holds up later broadcasts.
    pub fn broadcast<M: Into<Broadcast>>(
        &self,
        message: M,
        slow: SlowConnection,
    ) -> impl Future<Output = Delivery> + Send + use<M> {
        broadcast(self.clone(), message.into(), slow)
    }
}

async fn broadcast(
    connections: Connections,
    broadcast: Broadcast,
    slow: SlowConnection,
) -> Delivery {
    let mut delivery = Delivery::default();
    let mut sessions = Unwoken::default();
    let mut prepared = false;
    let _turn = connections.turn().await;
    let ids = connections.ids().await;
    for ids in ids.iter().flat_map(|ids| ids.chunks(STRETCH)) {
        for sender in ids.iter().filter_map(|id| connections.get(*id)) {
            if !prepared {
                sender.prepare(&broadcast.message);
                prepared = true;
            }
            if let Some(session) = send(&sender, &broadcast, &slow, &mut delivery) {
                sessions.add(sender, session.runtime.as_ref());
            }
        }
        flush_soon(&mut sessions);
        yield_now().await;
    }
    delivery
}

/// Sends to one; as a [member's](super::member::Member::deliver).
fn send(
    sender: &Sender,
    broadcast: &Broadcast,
    slow: &SlowConnection,
    delivery: &mut Delivery,
) -> Option<Asleep> {
    let most = broadcast.droppable;
    if most.is_some_and(|most| sender.queued_bytes() > most) && sender.is_open() {
        delivery.dropped += 1;
        return None;
    }
    match (sender.try_queue(&broadcast.message), slow) {
        (Ok(session), _) => {
            delivery.sent += 1;
            return session;
        }
        (Err(TrySendError::Closed(_)), _) => {}
        (Err(TrySendError::Full(_)), SlowConnection::Close(frame)) if most.is_none() => {
            delivery.closed += 1;
            sender.count_full();
            sender.close(frame.clone());
        }
        (Err(TrySendError::Full(_)), _) => {
            delivery.dropped += 1;
            sender.count_full();
        }
    }
    None
}
