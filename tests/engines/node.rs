//! A server's process, from outside.

use std::{env, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use tower::BoxError;

use super::{
    engine::{reaper, signal},
    server::SERVER,
};

pub(crate) struct Node {
    child: Child,
    pid: u32,
    stdin: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
    pub(crate) port: u16,
}

impl Node {
    /// Starts a server, with its setting.
    pub(crate) async fn start(setting: &Value) -> Result<Self, BoxError> {
        let mut child = Command::new(env::current_exe()?)
            .args([SERVER, &setting.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or("it has ended")?;
        reaper::note("process", &pid.to_string());
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut node = Self {
            child,
            pid,
            stdin,
            said: BufReader::new(stdout.ok_or("no standard output")?).lines(),
            port: 0,
        };
        let said = node.hear(STUCK).await?;
        node.port = u16::try_from(said["port"].as_u64().unwrap_or_default())?;
        Ok(node)
    }

    /// Says something, and returns the answer.
    pub(crate) async fn ask(&mut self, what: &str) -> Result<Value, BoxError> {
        let stdin = self.stdin.as_mut().ok_or("it has been ended")?;
        stdin.write_all(format!("{what}\n").as_bytes()).await?;
        let said = self.hear(STUCK).await;
        Ok(said.map_err(|error| format!("{what}: {error}"))?)
    }

    async fn hear(&mut self, within: Duration) -> Result<Value, BoxError> {
        let line = timeout(within, self.said.next_line())
            .await
            .map_err(|_| format!("the server says nothing for {within:?}"))??;
        let line = line.ok_or("the server has ended")?;
        Ok(serde_json::from_str(&line).map_err(|_| format!("the server says {line:?}"))?)
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<(), BoxError> {
        self.child.kill().await?;
        reaper::forget("process", &self.pid.to_string());
        Ok(())
    }

    pub(crate) fn pause(&self) -> Result<(), BoxError> {
        signal("STOP", self.pid)
    }

    pub(crate) fn resume(&self) -> Result<(), BoxError> {
        signal("CONT", self.pid)
    }

    /// Lets it leave the cluster and end by itself; an error if it does neither.
    pub(crate) async fn end(mut self) -> Result<(), BoxError> {
        self.ask("leave").await?;
        drop(self.stdin.take());
        let ended = timeout(STUCK, self.child.wait()).await;
        let status = ended.map_err(|_| "a server does not end")??;
        match status.success() {
            true => Ok(()),
            false => Err(format!("a server ended with {status}").into()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.start_kill());
        reaper::forget("process", &self.pid.to_string());
    }
}

/// Longer than anything takes on a busy machine.
const STUCK: Duration = Duration::from_secs(60);
