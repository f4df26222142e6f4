//! An engine, two servers on it, and the load: what a scenario plays on.

use std::{mem::replace, path::Path};

use serde_json::{Value, json};
use tower::BoxError;

use super::{
    engine::{Directory, nats::Nats, redis::Redis, sentinel, sentinel::Sentinels, shards::Shards},
    load::{Load, Shape},
    node::Node,
    proxy::{Mode, Proxy},
};

/// Which engine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// None: all clients are on one server, which may have faults for the harness to find.
    Nothing {
        planted: bool,
    },
    Redis,
    /// One Redis, whose streams carry the messages.
    Streams,
    Sentinels,
    Shards,
    /// So many servers.
    Nats(usize),
}

pub(crate) enum Engine {
    Nothing { planted: bool },
    Redis(Redis),
    Streams(Redis),
    Sentinels(Sentinels),
    Shards(Shards),
    Nats(Vec<Nats>),
}

pub(crate) struct Stage {
    // The first to be dropped are those that speak with the ones below.
    pub(crate) load: Load,
    pub(crate) nodes: [Node; 2],
    /// Between each node and each server of the engine. Sentinels and clusters tell their clients other addresses, the
    /// same to both nodes: there are none.
    pub(crate) proxies: [Vec<Proxy>; 2],
    pub(crate) engine: Engine,
    pub(crate) directory: Directory,
    settings: [Value; 2],
    /// What the servers said before the first client came.
    pub(crate) at_rest: [Value; 2],
}

impl Stage {
    pub(crate) async fn set(kind: Kind, shape: Shape) -> Result<Self, BoxError> {
        let directory = Directory::new("stage")?;
        let engine = Engine::start(kind, directory.path()).await?;
        let proxies = [engine.proxies()?, engine.proxies()?];
        let settings = proxies.each_ref().map(|proxies| engine.setting(proxies));
        let mut nodes = [
            Node::start(&settings[0]).await?,
            Node::start(&settings[1]).await?,
        ];
        let mut at_rest = [Value::Null, Value::Null];
        for (node, at_rest) in nodes.iter_mut().zip(&mut at_rest) {
            node.ask("connected").await?;
            *at_rest = node.ask("sample").await?;
        }
        let ports = match engine {
            Engine::Nothing { .. } => [nodes[0].port; 2],
            _ => nodes.each_ref().map(|node| node.port),
        };
        let load = Load::start(shape, ports).await?;
        Ok(Self {
            load,
            nodes,
            proxies,
            engine,
            directory,
            settings,
            at_rest,
        })
    }

    /// Lets all lines of a node do something.
    pub(crate) fn line(&self, node: usize, mode: Mode) {
        for proxy in &self.proxies[node] {
            proxy.set(mode);
        }
    }

    /// Reports whether both nodes count the members of a group on both.
    pub(crate) async fn is_counted(&mut self) -> Result<bool, BoxError> {
        let members = 2 * self.load.members_per_group();
        for node in &mut self.nodes {
            let said = node.ask("count").await?;
            if said != json!([members, 2, 0]) {
                return Err(format!("{said}, not {members}").into());
            }
        }
        Ok(true)
    }

    /// Kills a node as `kill -9` does.
    pub(crate) async fn kill_node(&mut self, node: usize) -> Result<(), BoxError> {
        self.load.node_restarts(node);
        self.nodes[node].kill().await
    }

    /// Starts a node that is not running, and waits until its clients are back.
    pub(crate) async fn start_node(&mut self, node: usize) -> Result<(), BoxError> {
        self.nodes[node] = Node::start(&self.settings[node]).await?;
        self.nodes[node].ask("connected").await?;
        self.at_rest[node] = self.nodes[node].ask("sample").await?;
        self.load.node_is_at(node, self.nodes[node].port);
        self.load.all_joined().await
    }

    /// Starts another node in the place of one, which then closes its connections and leaves.
    pub(crate) async fn replace_node(&mut self, node: usize) -> Result<(), BoxError> {
        let mut new = Node::start(&self.settings[node]).await?;
        new.ask("connected").await?;
        self.at_rest[node] = new.ask("sample").await?;
        self.load.node_restarts(node);
        self.load.node_is_at(node, new.port);
        replace(&mut self.nodes[node], new).end().await?;
        self.load.all_joined().await
    }

    pub(crate) fn redis(&mut self) -> &mut Redis {
        match &mut self.engine {
            Engine::Redis(redis) | Engine::Streams(redis) => redis,
            _ => panic!("the scenario is for another engine"),
        }
    }

    pub(crate) fn sentinels(&mut self) -> &mut Sentinels {
        match &mut self.engine {
            Engine::Sentinels(sentinels) => sentinels,
            _ => panic!("the scenario is for another engine"),
        }
    }

    pub(crate) fn shards(&mut self) -> &mut Shards {
        match &mut self.engine {
            Engine::Shards(shards) => shards,
            _ => panic!("the scenario is for another engine"),
        }
    }

    pub(crate) fn nats(&mut self) -> &mut [Nats] {
        match &mut self.engine {
            Engine::Nats(nats) => nats,
            _ => panic!("the scenario is for another engine"),
        }
    }
}

impl Engine {
    async fn start(kind: Kind, directory: &Path) -> Result<Self, BoxError> {
        Ok(match kind {
            Kind::Nothing { planted } => Self::Nothing { planted },
            Kind::Redis => Self::Redis(Redis::start(directory, &[]).await?),
            Kind::Streams => Self::Streams(Redis::start(directory, &[]).await?),
            Kind::Sentinels => Self::Sentinels(Sentinels::start(directory).await?),
            Kind::Shards => Self::Shards(Shards::start(directory).await?),
            Kind::Nats(count) => Self::Nats(Nats::start(directory, count).await?),
        })
    }

    fn proxies(&self) -> Result<Vec<Proxy>, BoxError> {
        let ports = match self {
            Self::Nothing { .. } | Self::Sentinels(_) | Self::Shards(_) => vec![],
            Self::Redis(redis) | Self::Streams(redis) => vec![redis.port],
            Self::Nats(nats) => nats.iter().map(|nats| nats.port).collect(),
        };
        Ok(ports
            .into_iter()
            .map(Proxy::start)
            .collect::<Result<_, _>>()?)
    }

    /// What a server has to be told of it.
    fn setting(&self, proxies: &[Proxy]) -> Value {
        let urls = |scheme: &str, ports: &[u16]| -> Vec<String> {
            ports
                .iter()
                .map(|port| format!("{scheme}://127.0.0.1:{port}"))
                .collect()
        };
        let behind: Vec<_> = proxies.iter().map(|proxy| proxy.port).collect();
        match self {
            Self::Nothing { planted } => json!({"engine": "none", "planted": planted}),
            Self::Redis(_) => json!({"engine": "redis", "urls": urls("redis", &behind)}),
            Self::Streams(_) => json!({"engine": "streams", "urls": urls("redis", &behind)}),
            Self::Sentinels(them) => json!({
                "engine": "sentinel",
                "urls": urls("redis", &them.ports()),
                "master": sentinel::MASTER,
            }),
            Self::Shards(them) => json!({"engine": "shards", "urls": urls("redis", &them.ports())}),
            Self::Nats(_) => json!({"engine": "nats", "urls": urls("nats", &behind)}),
        }
    }
}
