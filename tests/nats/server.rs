//! A `nats-server` of a test: on a free port of 127.0.0.1, killed when it is dropped.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

pub(crate) struct NatsServer {
    program: PathBuf,
    pub(crate) port: u16,
    directory: PathBuf,
    child: Option<Child>,
}

impl NatsServer {
    /// Starts one with these settings; `None`, and a line on stderr, if there is none on this machine.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        let Some(program) = find() else {
            // Past the harness, which shows nothing of a test that passes.
            let words = "SKIPPED: nats-server not found; .ci/engines fetches it";
            let mut stderr = io::stderr();
            stderr.write_all(format!("{words}\n").as_bytes()).unwrap();
            let is_required = env::var("ENGINES").is_ok_and(|words| words.contains("required"));
            assert!(!is_required, "{words}");
            return None;
        };
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Relaxed);
        let directory = env::temp_dir().join(format!("nats-{}-{number}", process::id()));
        fs::create_dir(&directory).unwrap();
        let mut server = Self {
            program,
            port: free_port(),
            directory,
            child: None,
        };
        server.set(settings);
        server.start_again();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns the path of a file for it, with this text.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Writes its settings.
    pub(crate) fn set(&self, settings: &str) {
        self.file(
            "conf",
            &format!("listen: \"127.0.0.1:{}\"\n{settings}\n", self.port),
        );
    }

    /// Has it read its settings again.
    pub(crate) fn reload(&self) {
        self.signal("HUP");
    }

    pub(crate) fn start_again(&mut self) {
        let log = fs::File::create(self.directory.join("log")).unwrap();
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.directory.join("conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(
                Instant::now() < deadline,
                "it does not listen: {}",
                self.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id();
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(pid.to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    /// Looks on, as `nats sub '>'` does, until the stream is dropped.
    pub(crate) fn look_on(&self, settings: &str) -> BufReader<TcpStream> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap());
        let hello = format!("CONNECT {settings}\r\nSUB > 1\r\nPING\r\n");
        stream.get_mut().write_all(hello.as_bytes()).unwrap();
        let mut line = String::new();
        while line.trim_end() != "PONG" {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "it refused");
        }
        stream
    }

    /// Makes a stream of JetStream that keeps what is published to these subjects, and answers.
    pub(crate) fn make_stream(&self, name: &str, subjects: &str) {
        let mut stream = self.look_on("{}");
        let ask =
            format!("{{\"name\":\"{name}\",\"subjects\":[\"{subjects}\"],\"storage\":\"memory\"}}");
        let ask = format!(
            "PUB $JS.API.STREAM.CREATE.{name} made {}\r\n{ask}\r\n",
            ask.len()
        );
        stream.get_mut().write_all(ask.as_bytes()).unwrap();
        let mut line = String::new();
        while !line.contains("stream_create_response") {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "it refused");
        }
        assert!(!line.contains("\"error\""), "{line}");
    }

    /// Waits until it tells clients of the other server.
    pub(crate) fn wait_until_it_names(&self, port: u16) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            let urls = line.split_once("\"connect_urls\":").map(|(_, urls)| urls);
            if urls.is_some_and(|urls| urls.contains(&format!(":{port}\""))) {
                return;
            }
            assert!(Instant::now() < deadline, "{line}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Returns the server that the environment names, the one that `.ci/engines` unpacked, or the machine's.
fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os("NATS_SERVER") {
        return Some(named.into());
    }
    let this = env::current_exe().ok()?;
    let unpacked = this
        .ancestors()
        .map(|folder| folder.join("engines").join("nats-server"));
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&path).map(|folder| folder.join("nats-server"));
    unpacked.chain(installed).find(|program| program.is_file())
}

/// Returns a port below those that the system gives to outgoing connections: a server that is down for a while
/// would find a connection on its port.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = process::id() % 1000 * 12;
    for _ in 0..12_000 {
        let port = 6_000 + ((first + NEXT.fetch_add(1, Relaxed)) % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

const PATIENCE: Duration = Duration::from_secs(30);
