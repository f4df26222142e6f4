//! All scenarios.

mod lines;
mod nats;
mod nodes;
mod redis;
mod sentinel;
mod shards;
mod streams;

use std::time::Duration;

use super::{
    load::Shape,
    scenario::{Fault, LOCAL, MEMORY, Scenario, Times},
    stage::Kind,
};

/// All of them, in the order in which they are played.
pub(crate) fn all() -> Vec<Scenario> {
    let parts = [
        redis::all(),
        sentinel::all(),
        shards::all(),
        streams::all(),
        nats::all(),
        lines::all(),
        nodes::all(),
    ];
    parts.into_iter().flatten().collect()
}

/// Whether a scenario belongs to the short set.
#[derive(Clone, Copy, PartialEq)]
enum Set {
    Short,
    Full,
}
use Set::{Full, Short};

fn scenario(name: &'static str, engine: Kind, set: Set, fault: Fault) -> Scenario {
    Scenario {
        name,
        engine,
        needs: match engine {
            Kind::Nothing { .. } => None,
            Kind::Redis | Kind::Streams | Kind::Sentinels | Kind::Shards => Some("redis-server"),
            Kind::Nats(_) => Some("nats-server"),
        },
        short: set == Short,
        shape: Shape::default(),
        times: Times::default(),
        may_lose: true,
        local: LOCAL,
        memory: MEMORY,
        fault,
    }
}

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
