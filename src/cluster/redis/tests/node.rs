//! A node, without the tasks that it has.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{task::yield_now, time::timeout};

use super::fake::Fake;
use crate::{
    cluster::{
        backplane::BackplaneError,
        core::Core,
        deliver::{Deliver, Gap, Parcel},
        engine::Backplane,
        envelope::Carried,
        hub::{Hub, now},
        line::Line,
        node_id::NodeId,
        redis::Redis,
        settings::ClusterSettings,
        topic::{Topic, TopicPrefix},
    },
    protocol::Message,
};

/// A group that is told nothing.
struct Nobody;

impl Deliver for Nobody {
    fn deliver(self: Arc<Self>, _: Parcel) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        unreachable!("nothing is delivered to it")
    }

    fn members(&self) -> usize {
        0
    }

    fn missed(self: Arc<Self>, _: Gap) {}
}

pub(super) fn topic(key: &str) -> Topic {
    let rooms = TopicPrefix::new("shop", "rooms").unwrap();
    rooms.topic(key.as_bytes()).unwrap()
}

/// A node, without the tasks that it has.
pub(super) struct Node {
    pub(super) hub: Arc<Hub>,
    pub(super) redis: Redis,
}

impl Node {
    pub(super) fn new(redis: Redis) -> Self {
        let settings = ClusterSettings {
            // Envelopes leave at once.
            settling: Duration::ZERO,
            linger: Duration::ZERO,
            ..ClusterSettings::default()
        };
        let id = NodeId::new(7).unwrap();
        let core = Core::new("shop", settings, redis.promises(), id, 7, now()).unwrap();
        let hub = Arc::new(Hub::new(core));
        Self { hub, redis }
    }

    pub(super) fn of(fake: &Fake) -> Self {
        Self::new(Redis::new(&fake.url()).unwrap())
    }

    pub(super) fn join(&self, key: &str) {
        let group = Weak::<Nobody>::new() as Weak<dyn Deliver>;
        self.hub
            .with(|state, _| state.core.add_interest(&topic(key), group));
    }

    pub(super) fn publish(&self, key: &str, text: &str) {
        let message = Carried::Message(Message::text(text).into());
        self.hub
            .with(|state, now| state.core.publish(&topic(key), &message, now));
    }

    /// Serves the line until it ends.
    pub(super) async fn run(&self) -> Result<(), BackplaneError> {
        let mut line = Line::new(self.hub.clone());
        let run = self.redis.run(&mut line);
        timeout(Duration::from_secs(30), run)
            .await
            .expect("it goes on")
    }

    /// Serves the line until it ends, and lets time pass meanwhile.
    pub(super) async fn run_to_end(&self) -> Result<(), BackplaneError> {
        let mut line = Line::new(self.hub.clone());
        tokio::select! {
            end = self.redis.run(&mut line) => end,
            () = self.wait_until(|_| false) => unreachable!("nothing is waited for"),
        }
    }

    /// Serves the line until something holds.
    pub(super) async fn run_until(&self, holds: impl Fn(&Hub) -> bool) {
        self.run_until_and(holds, async |_| {}).await;
    }

    /// Serves the line until something holds, and then until something else has happened.
    pub(super) async fn run_until_and(
        &self,
        holds: impl Fn(&Hub) -> bool,
        then: impl AsyncFnOnce(&Self),
    ) {
        let mut line = Line::new(self.hub.clone());
        tokio::select! {
            end = self.redis.run(&mut line) => panic!("it ended: {end:?}"),
            () = async { self.wait_until(holds).await; then(self).await } => {}
        }
    }

    /// Waits until something holds, which is looked at whenever it may have come further.
    pub(super) async fn wait_until(&self, holds: impl Fn(&Hub) -> bool) {
        let started = std::time::Instant::now();
        while !holds(&self.hub) {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "it does not come to that"
            );
            yield_now().await;
            let silence = self.hub.with(|state, now| state.core.handle_timeout(now));
            assert!(silence.is_none(), "{silence:?}");
        }
    }
}
