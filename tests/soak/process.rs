//! The server's process, from outside.

use std::{
    env, fmt,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use serde_json::Value;
use tower::BoxError;

pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Receiver<String>,
    pub(crate) plain: u16,
    pub(crate) tls: u16,
}

impl Process {
    pub(crate) fn start() -> Result<Self, BoxError> {
        let mut child = Command::new(env::current_exe()?)
            .arg(super::SERVER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = BufReader::new(stdout.ok_or("no standard output")?);
        let (say, said) = channel();
        thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| say.send(line))
        });
        let mut process = Self {
            child,
            stdin,
            said,
            plain: 0,
            tls: 0,
        };
        let ports = process.hear()?;
        process.plain = ports["plain"].as_u64().unwrap_or_default().try_into()?;
        process.tls = ports["tls"].as_u64().unwrap_or_default().try_into()?;
        Ok(process)
    }

    /// Says something, and gives the answer.
    pub(crate) fn ask(&mut self, what: &str) -> Result<Value, BoxError> {
        let stdin = self.stdin.as_mut().ok_or("it has been ended")?;
        writeln!(stdin, "{what}")?;
        self.hear()
    }

    pub(crate) fn sample(&mut self) -> Result<Sample, BoxError> {
        Ok(Sample(self.ask("sample")?))
    }

    fn hear(&self) -> Result<Value, BoxError> {
        let line = self.said.recv_timeout(STUCK);
        let line = line.map_err(|error| format!("the server says nothing: {error}"))?;
        Ok(serde_json::from_str(&line).map_err(|_| format!("the server says {line:?}"))?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends with its standard input; what cannot be asked any more is ended.
        drop(self.stdin.take());
        for _ in 0..100 {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the server has at a time.
#[derive(Clone)]
pub(crate) struct Sample(pub(crate) Value);

impl Sample {
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.0[name].as_u64().unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in ["open", "found", "groups", "budget", "tasks", "fds"] {
            write!(f, "{name} {}, ", self.number(name))?;
        }
        let (heap, rss) = (self.number("heap") >> 10, self.number("rss") >> 10);
        write!(f, "heap {heap} KiB, RSS {rss} KiB")
    }
}

/// Longer than any drain takes on a busy machine.
const STUCK: Duration = Duration::from_secs(120);
