//! Other processes: started, put on a core, asked what they use, ended. Linux only.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A server that runs until this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a command that listens on a port of 127.0.0.1, and waits until it does.
    ///
    /// `{port}` in an argument becomes the port. On core 0 if `pinned`, else anywhere.
    pub(crate) fn start(
        command: &[String],
        environment: &[(&str, &OsStr)],
        pinned: bool,
    ) -> io::Result<Self> {
        let port = free_port()?;
        let command: Vec<String> = command
            .iter()
            .map(|word| word.replace("{port}", &port.to_string()))
            .collect();
        let [program, arguments @ ..] = command.as_slice() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // A child runs where the thread that starts it does.
        run_on(pinned.then_some(0));
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .spawn();
        run_on(pinned.then_some(1));
        let mut server = Self {
            child: child?,
            port,
        };
        for _ in 0..250 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait()? {
                return Err(io::Error::other(format!("{program} ended with {status}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Time on a CPU, all threads that are alive.
    pub(crate) cpu: Duration,
    /// Resident bytes.
    pub(crate) memory: u64,
}

impl Usage {
    /// Reads `/proc`. A process that is gone is an error.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let mut cpu = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the two.
            let Ok(schedstat) = fs::read_to_string(task?.path().join("schedstat")) else {
                continue;
            };
            cpu += first_number(&schedstat);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = resident.map_or(0, first_number) * 1024;
        Ok(Self {
            cpu: Duration::from_nanos(cpu),
            memory,
        })
    }
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Keeps this thread, and what it starts, on one core, or lets it go anywhere.
///
/// With a single core there is nothing to choose.
pub(crate) fn run_on(core: Option<usize>) {
    let mut cores = CpuSet::new();
    match core {
        Some(core) => cores.set(core),
        None => (0..CpuSet::MAX_CPU).for_each(|core| cores.set(core)),
    }
    let _allowed = sched_setaffinity(None, &cores);
}

/// Whether server and clients can have a core each.
pub(crate) fn can_pin() -> bool {
    sched_getaffinity(None).is_ok_and(|cores| cores.is_set(0) && cores.is_set(1))
}

/// Raises the limit of open descriptors as far as allowed, for the children too.
pub(crate) fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _raised = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
