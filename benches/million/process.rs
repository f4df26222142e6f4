//! The server's process: started, told what to do, asked what it uses. Linux only.

use std::{
    env, fs, io,
    process::{Command as Program, Stdio},
    thread::available_parallelism,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::server::Settings;

/// A server that runs until this is dropped.
pub(crate) struct Server {
    child: Child,
    pid: u32,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    pub(crate) port: u16,
}

impl Server {
    /// Starts this program once more, on core 0 if `pinned`.
    pub(crate) async fn start(settings: Settings, pinned: bool) -> io::Result<Self> {
        let mut command = Command::from(with_descriptors(pinned.then_some(0))?);
        command.args(["serve", &settings.threads.to_string()]);
        let flags = [
            ("raw", settings.raw),
            ("group", settings.group),
            ("pings", settings.pings),
        ];
        command.args(flags.iter().filter(|(_, set)| *set).map(|(flag, _)| flag));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let parts = (child.stdin.take(), child.stdout.take(), child.id());
        let (Some(input), Some(output), Some(pid)) = parts else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut server = Self {
            child,
            pid,
            input,
            output: BufReader::new(output).lines(),
            port: 0,
        };
        server.port = server.line().await?.parse().map_err(io::Error::other)?;
        Ok(server)
    }

    /// Tells it what to do, and waits for its answer: numbers.
    pub(crate) async fn ask(&mut self, line: &str) -> io::Result<Vec<u64>> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = self.line().await?;
        let numbers = answer.split(' ').map(str::parse).collect::<Result<_, _>>();
        numbers.map_err(|_| io::Error::other(format!("the server said: {answer}")))
    }

    /// Lets it end by itself, as it does when its input ends.
    pub(crate) async fn end(mut self) -> io::Result<()> {
        drop(self.input);
        let status = self.child.wait().await?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("the server ended with {status}")))
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        let line = self.output.next_line().await?;
        line.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.pid)
    }

    /// Lets the peak of its memory begin anew.
    pub(crate) fn forget_peak(&self) -> io::Result<()> {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5")
    }
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Time on a CPU, all threads that are alive.
    pub(crate) cpu: Duration,
    /// What part of it was the kernel's, in steps of 10 ms.
    pub(crate) kernel: Duration,
    /// Resident bytes, and the most there were.
    pub(crate) memory: u64,
    pub(crate) peak: u64,
}

impl Usage {
    fn of(pid: u32) -> io::Result<Self> {
        let mut cpu = 0;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the two.
            let schedstat = fs::read_to_string(task?.path().join("schedstat"));
            cpu += schedstat.map_or(0, |text| number(&text, 0));
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |line| 1024 * number(line, 0))
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        Ok(Self {
            cpu: Duration::from_nanos(cpu),
            kernel: Duration::from_millis(10 * number(behind_name, 12)),
            memory: kilobytes("VmRSS:"),
            peak: kilobytes("VmHWM:"),
        })
    }
}

fn number(text: &str, index: usize) -> u64 {
    let word = text.split_whitespace().nth(index);
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// This program, with as many descriptors as are allowed, and on that core.
pub(crate) fn with_descriptors(core: Option<usize>) -> io::Result<Program> {
    let pin = core.map_or_else(String::new, |core| format!("taskset -c {core} "));
    let script = format!("ulimit -n \"$(ulimit -Hn)\"; exec {pin}\"$0\" \"$@\"");
    let mut program = Program::new("sh");
    program.args(["-c", &script]).arg(env::current_exe()?);
    Ok(program)
}

/// Whether server and clients can have a core each.
pub(crate) fn can_pin() -> bool {
    let taskset = Program::new("taskset")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    let cores = available_parallelism().map_or(1, usize::from);
    taskset.is_ok_and(|status| status.success()) && cores > 1
}
