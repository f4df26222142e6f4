//! A Redis cluster: three masters, and a replica for each.

use std::{ops::Range, path::Path};

use tower::BoxError;

use super::{PATIENCE, free_port, redis::Redis, until};

pub(crate) struct Shards {
    /// The masters first, then a replica for each of them, then what was added.
    pub(crate) servers: Vec<Server>,
}

pub(crate) struct Server {
    pub(crate) redis: Redis,
    /// What the others call it.
    id: String,
    /// Where they speak with it.
    bus: u16,
}

pub(crate) const MASTERS: usize = 3;
pub(crate) const SERVERS: usize = 2 * MASTERS;
const SLOTS: u16 = 16_384;

impl Shards {
    pub(crate) async fn start(directory: &Path) -> Result<Self, BoxError> {
        let mut all = Self {
            servers: Vec::new(),
        };
        for number in 1..=2 * MASTERS {
            let server = Server::start(directory).await?;
            let epoch = number.to_string();
            server
                .redis
                .ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch])
                .await?;
            all.servers.push(server);
        }
        for number in 0..MASTERS {
            let Range { start, end } = slots_of(number);
            let (first, last) = (start.to_string(), (end - 1).to_string());
            all.servers[number]
                .redis
                .ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])
                .await?;
        }
        for server in &all.servers[1..] {
            all.meet(server).await?;
        }
        all.agree(2 * MASTERS).await?;
        for number in 0..MASTERS {
            let replica = &all.servers[MASTERS + number].redis;
            replica
                .ask(&["CLUSTER", "REPLICATE", &all.servers[number].id])
                .await?;
        }
        all.replicate().await?;
        Ok(all)
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.servers
            .iter()
            .map(|server| server.redis.port)
            .collect()
    }

    async fn meet(&self, server: &Server) -> Result<(), BoxError> {
        let (port, bus) = (server.redis.port.to_string(), server.bus.to_string());
        self.servers[0]
            .redis
            .ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])
            .await?;
        Ok(())
    }

    /// Waits until every server knows `count` of them, and calls the cluster sound.
    pub(crate) async fn agree(&self, count: usize) -> Result<(), BoxError> {
        for server in &self.servers {
            until("the cluster agrees", PATIENCE, async || {
                let info = server.redis.ask(&["CLUSTER", "INFO"]).await?.concat();
                let nodes = server.redis.ask(&["CLUSTER", "NODES"]).await?.concat();
                let sound = nodes
                    .lines()
                    .filter(|line| !line.contains("handshake"))
                    .count();
                Ok::<_, BoxError>(info.contains("cluster_state:ok") && sound == count)
            })
            .await?;
        }
        Ok(())
    }

    async fn replicate(&self) -> Result<(), BoxError> {
        for server in &self.servers[MASTERS..2 * MASTERS] {
            until("a replica follows its master", PATIENCE, async || {
                let role = server.redis.ask(&["ROLE"]).await?;
                Ok::<_, BoxError>(role.iter().any(|it| it == "connected"))
            })
            .await?;
        }
        // The masters have to know of them, too, or none may take over.
        for server in &self.servers[..MASTERS] {
            until("a master knows the replicas", PATIENCE, async || {
                let nodes = server.redis.ask(&["CLUSTER", "NODES"]).await?.concat();
                Ok::<_, BoxError>(nodes.matches(" slave ").count() == MASTERS)
            })
            .await?;
        }
        Ok(())
    }

    /// Moves slots, in which there are no keys, from one master to another.
    pub(crate) async fn move_slots(
        &self,
        slots: Range<u16>,
        from: usize,
        to: usize,
    ) -> Result<(), BoxError> {
        let order = |slot: u16, rest: &[&str]| -> Vec<String> {
            let slot = slot.to_string();
            let parts = ["CLUSTER", "SETSLOT", &slot];
            parts
                .iter()
                .chain(rest)
                .map(|part| (*part).to_owned())
                .collect()
        };
        let (from, to) = (&self.servers[from], &self.servers[to]);
        let all = |rest: &[&str]| {
            slots
                .clone()
                .map(|slot| order(slot, rest))
                .collect::<Vec<_>>()
        };
        to.redis.ask_all(&all(&["IMPORTING", &from.id])).await?;
        from.redis.ask_all(&all(&["MIGRATING", &to.id])).await?;
        // To the new owner first, so that no slot is without one.
        to.redis.ask_all(&all(&["NODE", &to.id])).await?;
        let told = from.redis.ask_all(&all(&["NODE", &to.id])).await;
        match told {
            // Without a slot, it has become a replica: then it knows.
            Err(error) if error.to_string().contains("only with masters") => Ok(()),
            told => told.map(drop),
        }
    }

    /// Adds a master without slots, and returns its number.
    pub(crate) async fn add(&mut self, directory: &Path) -> Result<usize, BoxError> {
        let server = Server::start(directory).await?;
        self.meet(&server).await?;
        self.servers.push(server);
        self.agree(self.servers.len()).await?;
        Ok(self.servers.len() - 1)
    }

    /// Removes the last one, which has no slots any more.
    pub(crate) async fn remove_last(&mut self) -> Result<(), BoxError> {
        let Some(mut gone) = self.servers.pop() else {
            return Ok(());
        };
        for server in &self.servers {
            server.redis.ask(&["CLUSTER", "FORGET", &gone.id]).await?;
        }
        gone.redis.kill();
        self.agree(self.servers.len()).await
    }

    /// Lets the replica of a master take over from it while it is alive.
    pub(crate) async fn fail_over(&self, master: usize) -> Result<(), BoxError> {
        let replica = &self.servers[MASTERS + master].redis;
        replica.ask(&["CLUSTER", "FAILOVER"]).await?;
        self.takes_over(master).await
    }

    /// Waits until the replica of a master has taken over, and all that answer know it.
    pub(crate) async fn takes_over(&self, master: usize) -> Result<(), BoxError> {
        let new = &self.servers[MASTERS + master];
        until("the replica takes over", PATIENCE, async || {
            let role = new.redis.ask(&["ROLE"]).await?;
            let info = new.redis.ask(&["CLUSTER", "INFO"]).await?.concat();
            let is_master = role.first().is_some_and(|it| it == "master");
            Ok::<_, BoxError>(is_master && info.contains("cluster_state:ok"))
        })
        .await
    }
}

impl Server {
    async fn start(directory: &Path) -> Result<Self, BoxError> {
        let bus = free_port()?;
        let settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
        let bus_text = bus.to_string();
        let more = [
            "--cluster-port",
            &bus_text,
            "--repl-diskless-sync-delay",
            "0",
        ];
        let redis = Redis::start(directory, &[settings, more].concat()).await?;
        let id = redis.ask(&["CLUSTER", "MYID"]).await?.concat();
        Ok(Self { redis, id, bus })
    }
}

/// The slots of a master at first.
pub(crate) fn slots_of(master: usize) -> Range<u16> {
    let border =
        |number: usize| u16::try_from(number * usize::from(SLOTS) / MASTERS).unwrap_or(SLOTS);
    border(master)..border(master + 1)
}
