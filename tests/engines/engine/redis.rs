//! One `redis-server`: alone, or as a part of more.

use std::path::Path;

use tower::BoxError;

use super::{
    PATIENCE, Process, find, free_port,
    resp::{self, Reply},
    until,
};

pub(crate) struct Redis {
    process: Process,
    pub(crate) port: u16,
}

impl Redis {
    /// Starts one with further settings, and waits until it answers.
    pub(crate) async fn start(directory: &Path, settings: &[&str]) -> Result<Self, BoxError> {
        let port = free_port()?;
        let name = format!("redis-{port}");
        let home = directory.join(&name);
        std::fs::create_dir(&home)?;
        let (port_text, home) = (port.to_string(), home.to_string_lossy());
        let mut arguments = vec!["--port", &port_text, "--dir", &home];
        arguments.extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        arguments.extend_from_slice(settings);
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let program = find("redis-server").ok_or("no redis-server")?;
        let process = Process::start(&program, arguments, directory, &name)?;
        let redis = Self { process, port };
        redis.answers().await?;
        Ok(redis)
    }

    /// Waits until it answers, and has loaded what it had to.
    pub(crate) async fn answers(&self) -> Result<(), BoxError> {
        let what = format!("redis at {} answers", self.port);
        until(&what, PATIENCE, async || {
            self.ask(&["PING"]).await.map(|_| true)
        })
        .await
    }

    pub(crate) async fn ask(&self, order: &[&str]) -> Result<Reply, BoxError> {
        resp::ask(self.port, order).await
    }

    pub(crate) async fn ask_all(&self, orders: &[Vec<String>]) -> Result<Vec<Reply>, BoxError> {
        resp::ask_all(self.port, orders).await
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) async fn start_again(&mut self) -> Result<(), BoxError> {
        self.process.start_again()?;
        self.answers().await
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Ends every connection of a client.
    pub(crate) async fn kill_clients(&self) -> Result<(), BoxError> {
        for kind in ["pubsub", "normal"] {
            self.ask(&["CLIENT", "KILL", "TYPE", kind]).await?;
        }
        Ok(())
    }
}
