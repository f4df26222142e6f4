//! The engines: processes, and how a node uses them.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tower_websocket::cluster::{Cluster, Nats, Redis};

use crate::{Outcome, options::Options};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum EngineKind {
    Redis,
    Nats,
}

impl EngineKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Nats => "NATS",
        }
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
        }
    }

    pub(crate) fn named(name: &str) -> Outcome<Self> {
        match name {
            "redis" => Ok(Self::Redis),
            "nats" => Ok(Self::Nats),
            _ => Err(format!("no engine {name}").into()),
        }
    }

    /// Returns how it spells the topic of a group; of keys that need no escape.
    pub(crate) fn spell(self, key: &str) -> String {
        let parts = [CLUSTER, "1", ROOMS, key];
        match self {
            Self::Redis => parts.join(":"),
            Self::Nats => parts.join("."),
        }
    }
}

/// A server that runs until this is dropped.
pub(crate) struct Engine {
    pub(crate) kind: EngineKind,
    pub(crate) port: u16,
    program: PathBuf,
    child: Child,
}

impl Engine {
    /// Starts one; `None` if its program is not there.
    pub(crate) fn start(kind: EngineKind, options: &Options) -> Outcome<Option<Self>> {
        let program = options.programs.join(kind.program());
        if !program.exists() {
            return Ok(None);
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let child = launch(kind, &program, port)?;
        Ok(Some(Self {
            kind,
            port,
            program,
            child,
        }))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self) -> String {
        match self.kind {
            EngineKind::Redis => format!("redis://127.0.0.1:{}/", self.port),
            EngineKind::Nats => format!("nats://127.0.0.1:{}", self.port),
        }
    }

    /// Ends it as hard as can be.
    pub(crate) fn kill(&mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) -> Outcome {
        self.child = launch(self.kind, &self.program, self.port)?;
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

fn launch(kind: EngineKind, program: &PathBuf, port: u16) -> Outcome<Child> {
    let port_word = port.to_string();
    let mut command = Command::new(program);
    match kind {
        EngineKind::Redis => command
            .args(["--bind", "127.0.0.1", "--port", &port_word])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"]),
        EngineKind::Nats => command.args(["-a", "127.0.0.1", "-p", &port_word]),
    };
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let begun = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(format!("{} does not listen", program.display()).into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(child)
}

/// Begins a node with this engine. In a runtime only.
pub(crate) fn node(url: &str) -> Outcome<Cluster> {
    match url.split("://").next() {
        Some("redis") => Ok(Cluster::start(CLUSTER, Redis::new(url)?)),
        Some("nats") => Ok(Cluster::start(CLUSTER, Nats::new(url)?)),
        _ => Err(format!("no engine for {url}").into()),
    }
}

/// The name of the cluster, and that of its groups.
pub(crate) const CLUSTER: &str = "bench";
pub(crate) const ROOMS: &str = "rooms";
