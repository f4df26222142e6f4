//! Hours of it: every kind of client at once, coming and going, while the server is drained and started
//! again now and then.
//!
//! Before the long part there is a short one, and both end without clients: what the server has then is
//! to be the same. In between samples are taken, whose last third is not to be above the first one.

use std::{
    env,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    process::Command,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::BoxError;

use super::{
    endings::{self, IMPATIENT, Log},
    kinds::{Http, KINDS},
    lines, ours,
    process::{Process, Sample},
};

/// What all clients look at.
pub(crate) struct Course {
    pub(crate) port: u16,
    /// Of the relay, behind which lines are slow.
    pub(crate) slow: u16,
    over: AtomicBool,
    /// Odd while the server is drained and started again.
    restarts: AtomicU64,
    seed: AtomicU64,
    pub(crate) log: Log,
    /// What our own clients have opened, and the messages they have had back.
    pub(crate) opened: AtomicU64,
    pub(crate) echoed: AtomicU64,
}

impl Course {
    fn new(port: u16, slow: u16) -> Self {
        Self {
            port,
            slow,
            over: AtomicBool::new(false),
            restarts: AtomicU64::new(0),
            seed: AtomicU64::new(1),
            log: Log::default(),
            opened: AtomicU64::new(0),
            echoed: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// One of `0..below`.
    pub(crate) fn random(&self, below: u64) -> u64 {
        // SplitMix64: each call has the next number of the sequence.
        let mut number = self
            .seed
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ number >> 31) % below
    }

    pub(crate) async fn pause(&self, milliseconds: u64) {
        sleep(Duration::from_millis(self.random(milliseconds))).await;
    }

    /// Where the server is now, to be given to [`blame`](Self::blame).
    pub(crate) fn generation(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Takes note of a failure, unless the server was stopped meanwhile.
    pub(crate) fn blame(&self, began: u64, failure: String) {
        if began.is_multiple_of(2) && began == self.generation() {
            self.log.fail(failure);
        }
    }
}

/// Soaks the server for so many seconds; gives what was wrong.
pub(crate) async fn run(seconds: u64) -> Result<Vec<String>, BoxError> {
    let mut process = Process::start()?;
    let before = process.sample()?;
    println!("before: {before}");
    process.ask(&format!("restart {IMPATIENT}"))?;
    let slow = lines::start(process.plain).await?;
    let mut wrong = Vec::new();
    let short = (seconds / 10).clamp(10, 60);
    let (warm, _) = part(&mut process, &before, slow, short, &mut wrong).await?;
    println!("warm after {short} s: {warm}");
    let (after, samples) = part(&mut process, &before, slow, seconds, &mut wrong).await?;
    println!("after {seconds} s: {after}");
    for (name, slack) in IDLE {
        let (had, has) = (warm.number(name), after.number(name));
        if has > had + slack {
            wrong.push(format!(
                "{name}: {has} without clients, and {had} before: more than {slack} more"
            ));
        }
    }
    wrong.extend(thirds(&samples));
    Ok(wrong)
}

/// All clients for so many seconds; gives what there is after them, and the samples of meanwhile.
async fn part(
    process: &mut Process,
    before: &Sample,
    slow: u16,
    seconds: u64,
    wrong: &mut Vec<String>,
) -> Result<(Sample, Vec<Sample>), BoxError> {
    let course = Arc::new(Course::new(process.plain, slow));
    let mut clients = JoinSet::new();
    for _ in 0..RAW {
        clients.spawn(raw(course.clone()));
    }
    for number in 0..OURS {
        clients.spawn(ours::churn(course.clone(), number));
    }
    let mut peers = JoinSet::new();
    for line in env::var("SOAK_PEERS").unwrap_or_default().lines() {
        peers.spawn(peer(line.to_owned(), process.plain, process.tls, seconds));
    }
    let mut samples = Vec::new();
    let (start, mut restarts) = (Instant::now(), 0);
    let length = Duration::from_secs(seconds);
    while start.elapsed() < length {
        sleep(SAMPLING).await;
        samples.push(process.sample()?);
        if start.elapsed() > RESTART * (restarts + 1) && start.elapsed() + RESTART / 2 < length {
            restarts += 1;
            restart(process, &course, wrong)?;
        }
    }
    course.over.store(true, Ordering::Relaxed);
    let gone = async {
        endings::join(&mut clients, &course.log).await;
        let mut said = Vec::new();
        while let Some(peer) = peers.join_next().await {
            said.push(peer);
        }
        said
    };
    for said in gone.await {
        match said? {
            Ok(said) => println!("{said}"),
            Err(failure) => wrong.push(failure.to_string()),
        }
    }
    let (_, left) = endings::settle(process, before).await?;
    wrong.extend(left);
    // Its registries are new then.
    restart(process, &course, wrong)?;
    let (after, left) = endings::settle(process, before).await?;
    wrong.extend(
        left.into_iter()
            .map(|left| format!("after a restart: {left}")),
    );
    wrong.extend(course.log.failures());
    println!(
        "{} connections and requests were ended in every way, {} of ours had {} echoes, {restarts} restarts",
        course.log.total(),
        course.opened.load(Ordering::Relaxed),
        course.echoed.load(Ordering::Relaxed),
    );
    Ok((after, samples))
}

/// Has the server drained and started again.
fn restart(
    process: &mut Process,
    course: &Course,
    wrong: &mut Vec<String>,
) -> Result<(), BoxError> {
    course.restarts.fetch_add(1, Ordering::Relaxed);
    let stopped = process.ask(&format!("restart {IMPATIENT}"))?;
    course.restarts.fetch_add(1, Ordering::Relaxed);
    println!("restarted: {}", stopped["stopped"]);
    let said = stopped["wrong"].as_array().into_iter().flatten();
    wrong.extend(said.map(|said| format!("after a drain: {said}")));
    for kind in KINDS {
        let ends = stopped["kinds"][kind.name]["ends"].as_object();
        for (how, count) in ends.into_iter().flatten() {
            if !kind.ends.contains(&how.as_str()) && !AT_A_DRAIN.contains(&how.as_str()) {
                wrong.push(format!(
                    "{}: {count} ended as \"{how}\" and not {:?}",
                    kind.name, kind.ends
                ));
            }
        }
    }
    Ok(())
}

/// Ends connections in every way, one after another.
async fn raw(course: Arc<Course>) {
    while !course.is_over() {
        let kind = &KINDS[course.random(KINDS.len() as u64) as usize];
        let http2 = match kind.http {
            Http::Both => course.random(2) == 1,
            Http::Only1 => false,
            Http::Only2 => true,
        };
        let began = course.generation();
        if let Err(failure) = endings::end(course.port, kind, http2, &course.log).await {
            course.blame(began, failure);
        }
        course.pause(300).await;
    }
}

/// A client of somebody else's: a program that comes and goes for as long as it is told, and prints what
/// it has seen as JSON.
async fn peer(line: String, plain: u16, tls: u16, seconds: u64) -> Result<String, BoxError> {
    let (name, command) = line
        .split_once('=')
        .ok_or("SOAK_PEERS has lines of NAME=COMMAND")?;
    let mut words = command.split_whitespace();
    let mut child = Command::new(words.next().ok_or("there is no command")?);
    child
        .args(words)
        .args([plain.to_string(), tls.to_string(), seconds.to_string()]);
    child
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let output = timeout(Duration::from_secs(seconds) + LEAVING, child.output());
    let output = output.await.map_err(|_| format!("{name} does not end"))??;
    let said = String::from_utf8_lossy(&output.stdout);
    let seen: Value = serde_json::from_str(said.trim_end().lines().last().unwrap_or_default())
        .map_err(|_| format!("{name} failed: {} {said:?}", output.status))?;
    let wrong = seen["wrong"]
        .as_array()
        .is_none_or(|wrong| !wrong.is_empty());
    let opened = seen["opened"].as_u64().unwrap_or_default();
    let messages = seen["messages"].as_u64().unwrap_or_default();
    if wrong || opened == 0 || messages == 0 {
        return Err(format!("{name}: {seen}").into());
    }
    Ok(format!("{name}: {opened} connections, {messages} echoes"))
}

/// What is above in the last third of the samples: the middle one of those counts, not the worst.
fn thirds(samples: &[Sample]) -> Vec<String> {
    let third = samples.len() / 3;
    let middle = |samples: &[Sample], name: &str| {
        let mut numbers: Vec<_> = samples.iter().map(|sample| sample.number(name)).collect();
        numbers.sort_unstable();
        numbers.get(numbers.len() / 2).copied().unwrap_or_default()
    };
    let mut wrong = Vec::new();
    for (name, slack) in BUSY {
        let first = middle(&samples[..third], name);
        let second = middle(&samples[third..samples.len() - third], name);
        let last = middle(&samples[samples.len() - third..], name);
        println!("{name}: {first}, {second}, {last} (the middle of each third)");
        if last > first + first / 4 + slack {
            wrong.push(format!(
                "{name}: {last} in the last third, {first} in the first one"
            ));
        }
    }
    wrong
}

const RAW: u32 = 24;
const OURS: u32 = 24;

/// How often the server is drained and started again.
const RESTART: Duration = Duration::from_secs(30);

const SAMPLING: Duration = Duration::from_millis(500);

/// What a client has to end in when its time is over.
const LEAVING: Duration = Duration::from_secs(60);

/// How a connection may end that is there when the server is stopped, beside its own way.
const AT_A_DRAIN: &[&str] = &[
    "Local 1001 clean",
    "Local 1001 unclean",
    "Disconnect 1006 unclean",
];

/// What may be there more without clients than after the short part. The heap is that of a server just
/// started again; the allocator keeps more the more connections there were at a time by chance.
const IDLE: [(&str, u64); 2] = [("heap", 512 << 10), ("rss", 24 << 20)];

/// By how much the last third may be above the first one, beside a quarter.
const BUSY: [(&str, u64); 7] = [
    ("rss", 16 << 20),
    ("heap", 4 << 20),
    ("budget", 1 << 20),
    ("fds", 20),
    ("tasks", 40),
    ("open", 20),
    ("groups", 0),
];
