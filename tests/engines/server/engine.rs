//! What a server knows of its cluster.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::sleep;
use tower::BoxError;
use tower_websocket::{
    Groups,
    cluster::{Cluster, ClusterCounters, ClusterEvent, Nats, Redis},
    groups::{Delivery, GroupEvent},
};

/// The cluster of the server, if it has one.
#[derive(Clone)]
pub(super) struct Engine {
    planted: bool,
    pub(super) cluster: Option<Cluster>,
    told: Arc<Mutex<Told>>,
}

/// What the cluster has told the application.
#[derive(Default)]
struct Told {
    /// Messages that are missing, by group.
    announced: BTreeMap<String, u64>,
    /// How long there was no connection, each time.
    reconnected: Vec<Duration>,
    /// What else happened, the last of it.
    events: Vec<String>,
    /// What became of broadcasts for other nodes.
    remote: BTreeMap<String, u64>,
    most_queued: u64,
    most_inbound: u64,
}

impl Engine {
    /// Makes it of `{"engine": "none"}` or `{"engine": "redis", "urls": [..]}`.
    pub(super) fn start(setting: &Value) -> Result<Self, BoxError> {
        let urls = setting["urls"].as_array();
        let urls: Vec<_> = urls
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let first = urls.first().copied().unwrap_or_default();
        let builder = || Cluster::builder("engines");
        let cluster = match setting["engine"].as_str() {
            Some("none") => None,
            Some("redis") => Some(builder().start(Redis::new(first)?)),
            Some("streams") => Some(builder().start(Redis::streams(first)?)),
            Some("sentinel") => {
                let master = setting["master"].as_str().unwrap_or_default();
                Some(builder().start(Redis::sentinel(&urls, master)?))
            }
            Some("shards") => Some(builder().start(Redis::cluster(&urls)?)),
            Some("nats") => Some(builder().start(Nats::new(&urls.join(","))?)),
            _ => return Err(format!("no such engine: {setting}").into()),
        };
        let engine = Self {
            planted: setting["planted"].as_bool().unwrap_or_default(),
            cluster,
            told: Arc::default(),
        };
        if let Some(cluster) = &engine.cluster {
            tokio::spawn(engine.clone().listen(cluster.clone()));
            tokio::spawn(engine.clone().weigh(cluster.clone()));
        }
        Ok(engine)
    }

    /// Reports whether the server has faults, for the harness to find.
    pub(super) fn is_planted(&self) -> bool {
        self.planted
    }

    pub(super) async fn connected(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.connected().await;
        }
    }

    pub(super) async fn leave(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.leave().await;
        }
    }

    pub(super) fn broadcast(&self, delivery: Delivery) {
        let what = format!("{:?}", delivery.remote);
        *self.told().remote.entry(what).or_default() += 1;
    }

    /// Writes down what the groups are told.
    pub(super) async fn listen_to(self, groups: Groups) {
        let mut events = groups.events();
        loop {
            match events.recv().await {
                GroupEvent::Gap(group, gap) => {
                    *self.told().announced.entry(group).or_default() += gap.missed;
                }
                GroupEvent::Reconnected(after) => self.told().reconnected.push(after),
                GroupEvent::Missed(missed) => self.happened(format!("{missed} events missed")),
                _ => {}
            }
        }
    }

    async fn listen(self, cluster: Cluster) {
        let mut events = cluster.events();
        loop {
            let event = match events.recv().await {
                ClusterEvent::Denied(topics) => format!("Denied({} topics)", topics.len()),
                event => format!("{event:?}"),
            };
            self.happened(event);
        }
    }

    /// Looks now and then at what waits.
    async fn weigh(self, cluster: Cluster) {
        loop {
            sleep(Duration::from_millis(20)).await;
            let counters = cluster.counters();
            let mut told = self.told();
            told.most_queued = told.most_queued.max(counters.queued_bytes);
            told.most_inbound = told.most_inbound.max(counters.inbound_bytes);
        }
    }

    fn happened(&self, what: String) {
        let mut told = self.told();
        if told.events.len() < MOST {
            told.events.push(what);
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sample(&self) -> Value {
        let Some(cluster) = &self.cluster else {
            return Value::Null;
        };
        let told = self.told();
        let mut sample = counted(&cluster.counters());
        let reconnected: Vec<_> = told.reconnected.iter().map(Duration::as_secs_f64).collect();
        for (name, value) in [
            ("announced", json!(told.announced)),
            ("reconnected", json!(reconnected)),
            ("events", json!(told.events)),
            ("remote", json!(told.remote)),
            ("most_queued", json!(told.most_queued)),
            ("most_inbound", json!(told.most_inbound)),
        ] {
            sample[name] = value;
        }
        sample
    }
}

fn counted(counters: &ClusterCounters) -> Value {
    let refused = &counters.refused;
    json!({
        "connected": counters.connected,
        "reconnects": counters.reconnects,
        "nodes": counters.nodes,
        "published": counters.published,
        "confirmed": counters.confirmed,
        "refused": refused.down + refused.full + refused.too_large,
        "expired": refused.expired,
        "rejected": refused.rejected,
        "received": counters.received,
        "doubles": counters.doubles,
        "gaps": counters.gaps,
        "lost": counters.lost,
        "overrun": counters.overrun,
        "topics_wanted": counters.topics_wanted,
        "topics_subscribed": counters.topics_subscribed,
        "queued": counters.queued_bytes,
        "in_flight": counters.in_flight,
        "inbound": counters.inbound_bytes,
    })
}

/// How many events are kept.
const MOST: usize = 1000;
