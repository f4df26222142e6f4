//! Engines as processes of the harness: started on free ports of 127.0.0.1, broken on purpose, and gone when dropped.

pub(crate) mod nats;
mod process;
pub(crate) mod reaper;
pub(crate) mod redis;
mod resp;
pub(crate) mod sentinel;
pub(crate) mod shards;

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower::BoxError;

pub(crate) use self::process::Process;

/// Returns the program `name`: the one that the environment names (`REDIS_SERVER`), the one that `.ci/engines`
/// unpacked, or the machine's.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let variable = name.replace('-', "_").to_uppercase();
    if let Some(named) = env::var_os(variable) {
        return Some(named.into());
    }
    let this = env::current_exe().ok()?;
    let unpacked = this
        .ancestors()
        .map(|folder| folder.join("engines").join(name));
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path).map(|folder| folder.join(name));
    unpacked.chain(installed).find(|program| program.is_file())
}

/// A directory that is removed when this is dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Result<Self, BoxError> {
        static MADE: AtomicU16 = AtomicU16::new(0);
        let number = MADE.fetch_add(1, Relaxed);
        let path = env::temp_dir().join(format!("engines-{}-{number}-{name}", std::process::id()));
        fs::create_dir(&path)?;
        reaper::note("directory", &path.to_string_lossy());
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // With `ENGINES=keep` the logs of all processes can be read afterwards.
        if !super::wants("keep") {
            drop(fs::remove_dir_all(&self.0));
        }
        reaper::forget("directory", &self.0.to_string_lossy());
    }
}

/// Returns a port that nothing listens on, below those from which the system takes the ports of outgoing connections:
/// an engine that is down for a while would find another's connection on its port.
pub(crate) fn free_port() -> Result<u16, BoxError> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1000)? * 12;
    for _ in 0..PORTS {
        let port = FIRST_PORT + (first + NEXT.fetch_add(1, Relaxed)) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port".into())
}

const FIRST_PORT: u16 = 18_000;
const PORTS: u16 = 12_000;

/// Sends a signal to a process.
pub(crate) fn signal(signal: &str, pid: u32) -> Result<(), BoxError> {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -{signal} {pid}")])
        .status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("kill -{signal} {pid}: {status}").into()),
    }
}

/// Asks every few milliseconds whether something holds, until it does.
pub(crate) async fn until<F, E>(
    what: &str,
    deadline: Duration,
    mut holds: F,
) -> Result<(), BoxError>
where
    F: AsyncFnMut() -> Result<bool, E>,
    E: std::fmt::Display,
{
    let start = Instant::now();
    loop {
        let said = match holds().await {
            Ok(true) => return Ok(()),
            Ok(false) => "no".to_owned(),
            Err(error) => error.to_string(),
        };
        if start.elapsed() > deadline {
            return Err(format!("{what}: not within {deadline:?} ({said})").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How long an engine may take to start, or to agree on something.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
