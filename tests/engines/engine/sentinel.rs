//! A master and its replica, watched by three Sentinels.

use std::{fs, path::Path};

use tower::BoxError;

use super::{PATIENCE, Process, find, free_port, redis::Redis, resp, until};

pub(crate) struct Sentinels {
    /// The master at first, and its replica.
    pub(crate) servers: [Redis; 2],
    sentinels: Vec<(Process, u16)>,
}

/// What the master is called.
pub(crate) const MASTER: &str = "mymaster";

impl Sentinels {
    pub(crate) async fn start(directory: &Path) -> Result<Self, BoxError> {
        let master = Redis::start(directory, &["--repl-diskless-sync-delay", "0"]).await?;
        let of = format!("127.0.0.1 {}", master.port);
        let of: Vec<_> = of.split(' ').collect();
        let replica = Redis::start(directory, &["--replicaof", of[0], of[1]]).await?;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Self::sentinel(directory, master.port)?);
        }
        let all = Self {
            servers: [master, replica],
            sentinels,
        };
        all.agree().await?;
        Ok(all)
    }

    fn sentinel(directory: &Path, master: u16) -> Result<(Process, u16), BoxError> {
        let port = free_port()?;
        let name = format!("sentinel-{port}");
        let home = directory.join(&name);
        fs::create_dir(&home)?;
        let settings = home.join("sentinel.conf");
        fs::write(
            &settings,
            format!(
                "port {port}\nbind 127.0.0.1\ndir {}\n\
                 sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
                 sentinel down-after-milliseconds {MASTER} 1000\n\
                 sentinel failover-timeout {MASTER} 6000\n",
                home.display()
            ),
        )?;
        let program = find("redis-server").ok_or("no redis-server")?;
        let arguments = vec![settings.to_string_lossy().into_owned(), "--sentinel".into()];
        Ok((Process::start(&program, arguments, directory, &name)?, port))
    }

    /// Waits until each Sentinel knows the replica and the two others.
    async fn agree(&self) -> Result<(), BoxError> {
        for (_, port) in &self.sentinels {
            until("a Sentinel knows the others", PATIENCE, async || {
                let said = resp::ask(*port, &["SENTINEL", "MASTER", MASTER]).await?;
                let value = |name: &str| {
                    let at = said.iter().position(|it| it == name)?;
                    said.get(at + 1)
                };
                let knows = |name, count: &str| value(name).is_some_and(|it| it == count);
                Ok::<_, BoxError>(knows("num-slaves", "1") && knows("num-other-sentinels", "2"))
            })
            .await?;
        }
        Ok(())
    }

    pub(crate) fn ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(|(_, port)| *port).collect()
    }

    /// Which of the two servers is the master, as all Sentinels say, and it itself.
    pub(crate) async fn master(&self) -> Result<usize, BoxError> {
        let mut said = Vec::new();
        for (_, port) in &self.sentinels {
            let at = resp::ask(*port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).await?;
            said.push(at.get(1).cloned().unwrap_or_default());
        }
        let at = self
            .servers
            .iter()
            .position(|it| said.iter().all(|port| *port == it.port.to_string()));
        let at = at.ok_or_else(|| format!("the Sentinels say {said:?}"))?;
        let role = self.servers[at].ask(&["ROLE"]).await?;
        match role.first().map(String::as_str) {
            Some("master") => Ok(at),
            _ => Err(format!("the master says that it is {role:?}").into()),
        }
    }

    /// Lets the replica become the master while the old one is alive.
    pub(crate) async fn fail_over(&self) -> Result<(), BoxError> {
        let old = self.master().await?;
        resp::ask(self.sentinels[0].1, &["SENTINEL", "FAILOVER", MASTER]).await?;
        self.becomes_master(1 - old).await
    }

    pub(crate) async fn becomes_master(&self, new: usize) -> Result<(), BoxError> {
        until("the replica becomes the master", PATIENCE, async || {
            Ok::<_, BoxError>(self.master().await? == new)
        })
        .await
    }

    /// Waits until a server follows the master.
    pub(crate) async fn follows(&self, server: usize) -> Result<(), BoxError> {
        until("a server follows the new master", PATIENCE, async || {
            let role = self.servers[server].ask(&["ROLE"]).await?;
            Ok::<_, BoxError>(role.iter().any(|it| it == "connected"))
        })
        .await
    }
}
