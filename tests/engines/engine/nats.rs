//! `nats-server`, alone or several that know each other.

use std::{fs, path::Path, path::PathBuf};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tower::BoxError;

use super::{PATIENCE, Process, find, free_port, until};

pub(crate) struct Nats {
    pub(crate) process: Process,
    pub(crate) port: u16,
    settings: PathBuf,
    /// What stands in the settings always.
    fixed: String,
    log: PathBuf,
}

impl Nats {
    /// Starts `count` of them.
    pub(crate) async fn start(directory: &Path, count: usize) -> Result<Vec<Self>, BoxError> {
        let mut routes = Vec::new();
        for _ in 0..count {
            routes.push(free_port()?);
        }
        let mut all = Vec::new();
        for &route in &routes {
            all.push(Self::one(directory, route, &routes)?);
        }
        for nats in &all {
            nats.answers().await?;
            // Each has a connection from or to each other one: then what is published at one comes out at all.
            until("the servers know each other", PATIENCE, async || {
                let said = fs::read_to_string(&nats.log)?;
                Ok::<_, BoxError>(said.matches("Route connection created").count() >= count - 1)
            })
            .await?;
        }
        Ok(all)
    }

    fn one(directory: &Path, route: u16, routes: &[u16]) -> Result<Self, BoxError> {
        let port = free_port()?;
        let name = format!("nats-{port}");
        let settings = directory.join(format!("{name}.conf"));
        let mut fixed = format!("listen: \"127.0.0.1:{port}\"\nserver_name: \"{name}\"\n");
        if routes.len() > 1 {
            let others = routes.iter().filter(|other| **other != route);
            let others: Vec<_> = others
                .map(|it| format!("\"nats://127.0.0.1:{it}\""))
                .collect();
            // Clients would go past the proxies to servers that they heard of.
            fixed += &format!(
                "cluster {{ name: engines, listen: \"127.0.0.1:{route}\", no_advertise: true, routes: [{}] }}\n",
                others.join(", ")
            );
        }
        // Who may do what can be changed while it runs, but not that nobody has to say a name.
        fixed += "no_auth_user: anybody\n";
        fs::write(&settings, format!("{fixed}{}", permitting("")))?;
        let program = find("nats-server").ok_or("no nats-server")?;
        let arguments = vec!["-c".into(), settings.to_string_lossy().into_owned()];
        let process = Process::start(&program, arguments, directory, &name)?;
        Ok(Self {
            process,
            port,
            settings,
            fixed,
            log: directory.join(format!("{name}.log")),
        })
    }

    /// Waits until it answers a ping.
    pub(crate) async fn answers(&self) -> Result<(), BoxError> {
        let what = format!("nats at {} answers", self.port);
        until(&what, PATIENCE, async || self.ping().await).await
    }

    pub(crate) async fn ping(&self) -> Result<bool, BoxError> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        stream
            .write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")
            .await?;
        line.clear();
        stream.read_line(&mut line).await?;
        match line.trim_end() {
            "PONG" => Ok(true),
            said => Err(said.to_owned().into()),
        }
    }

    pub(crate) async fn start_again(&mut self) -> Result<(), BoxError> {
        self.process.start_again()?;
        self.answers().await
    }

    /// Forbids everybody to publish and subscribe to what begins with a name, while it runs; nothing, if that is empty.
    pub(crate) async fn forbid(&self, name: &str) -> Result<(), BoxError> {
        let reloaded = || -> Result<usize, BoxError> {
            let said = fs::read_to_string(&self.log)?;
            Ok(said.matches("Reloaded server configuration").count())
        };
        let before = reloaded()?;
        fs::write(
            &self.settings,
            format!("{}{}", self.fixed, permitting(name)),
        )?;
        self.process.reload()?;
        until("it reads its settings again", PATIENCE, async || {
            reloaded().map(|now| now > before)
        })
        .await
    }
}

/// Who says no name is a user, who may do everything but with what begins so.
fn permitting(but: &str) -> String {
    let deny = match but {
        "" => String::new(),
        but => format!("deny: \"{but}.>\""),
    };
    format!(
        "authorization {{ users: [{{ user: anybody, password: x, \
         permissions: {{ publish: {{ {deny} }}, subscribe: {{ {deny} }} }} }}] }}\n"
    )
}
