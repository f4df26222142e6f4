//! Many connections, ended in every way; what the server has to have after that.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::BoxError;

use super::{
    kinds::{Act, DRAINED, Http, KINDS, Kind, Opening},
    process::{Process, Sample},
    raw::Wire,
};

/// What clients have done of a kind.
#[derive(Clone, Copy, Default)]
pub(crate) struct Done {
    /// Requests that were begun.
    asked: u64,
    /// Those that were accepted, as far as the client knows.
    opened: u64,
}

/// What all clients have done, by kind.
#[derive(Default)]
pub(crate) struct Log {
    done: Mutex<BTreeMap<&'static str, Done>>,
    failures: Mutex<Vec<String>>,
}

impl Log {
    fn done(&self) -> MutexGuard<'_, BTreeMap<&'static str, Done>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fail(&self, failure: String) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push(failure);
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many connections and refused or unfinished requests there were.
    pub(crate) fn total(&self) -> u64 {
        self.done().values().map(|done| done.asked).sum()
    }
}

/// How many WebSockets an HTTP/2 connection has.
const STREAMS: usize = 5;

/// How many connections of TCP are open at a time.
const AT_A_TIME: usize = 96;

/// Longer than anything here takes on a busy machine.
const STUCK: Duration = Duration::from_secs(60);

/// One connection of one kind, or several over HTTP/2.
pub(crate) async fn end(
    port: u16,
    kind: &'static Kind,
    http2: bool,
    log: &Log,
) -> Result<(), String> {
    let http = if http2 { "HTTP/2" } else { "HTTP/1.1" };
    let failure = match timeout(STUCK, converse(port, kind, http2, log)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it is stuck".to_owned(),
    };
    Err(format!("{} over {http}: {failure}", kind.name))
}

async fn converse(port: u16, kind: &'static Kind, http2: bool, log: &Log) -> Result<(), BoxError> {
    let mut wire = Wire::connect(port, http2).await?;
    let path = format!("/{}", kind.name);
    let count = if http2 && kind.opening != Opening::Half {
        STREAMS
    } else {
        1
    };
    let mut ids = Vec::new();
    for _ in 0..count {
        if kind.opening == Opening::Half {
            wire.ask_half(&path).await?;
            ids.push(1);
        } else {
            let version = if kind.opening == Opening::Refused {
                "12"
            } else {
                "13"
            };
            ids.push(wire.ask(&path, version).await?);
        }
        log.done().entry(kind.name).or_default().asked += 1;
    }
    if matches!(kind.opening, Opening::Full | Opening::Refused) {
        for &id in &ids {
            let accepted = wire.answer(id).await?;
            if accepted != (kind.opening == Opening::Full) {
                return Err(format!("accepted: {accepted}").into());
            }
            log.done().entry(kind.name).or_default().opened += u64::from(accepted);
        }
    }
    for &act in kind.acts {
        for &id in &ids {
            perform(&mut wire, id, act)
                .await
                .map_err(|error| format!("stream {id}: {error}"))?;
            if is_once(act) {
                break;
            }
        }
        if matches!(act, Act::Drop | Act::DropReset) {
            break;
        }
    }
    Ok(())
}

/// Whether it is the connection's and not a stream's.
fn is_once(act: Act) -> bool {
    matches!(
        act,
        Act::Wait(_) | Act::GoAway | Act::BreakHttp2 | Act::Drop | Act::DropReset
    )
}

async fn perform(wire: &mut Wire, id: u32, act: Act) -> Result<(), BoxError> {
    match act {
        // What is ended meanwhile cannot be written to.
        Act::Say(bytes) => drop(wire.say(id, bytes).await),
        Act::Finish => drop(wire.finish(id).await),
        Act::Reset => drop(wire.reset(id).await),
        Act::GoAway => wire.go_away().await?,
        Act::BreakHttp2 => wire.break_http2().await?,
        Act::Drop => {}
        Act::DropReset => wire.reset_all()?,
        Act::Wait(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
        Act::HearText => loop {
            let frame = wire.hear(id).await.ok_or("ended before the echo")?;
            match (frame.opcode, &*frame.payload) {
                (0x1 | 0x0, b"hello") => break,
                // A broadcast, a ping, the empty end of what came in pieces.
                (0x0 | 0x1 | 0x9, _) => {}
                _ => return Err(format!("no echo: {frame:?}").into()),
            }
        },
        Act::HearClose(expected) => loop {
            let frame = wire.hear(id).await.ok_or("ended without a Close frame")?;
            if frame.opcode != 0x8 {
                continue;
            }
            let code = frame
                .payload
                .first_chunk()
                .map_or(1005, |&code| u16::from_be_bytes(code));
            if code != expected {
                return Err(format!("closed with {code} and not {expected}").into());
            }
            break;
        },
        Act::HearEnd => while wire.hear(id).await.is_some() {},
    }
    Ok(())
}

/// Ends one connection of each kind over each HTTP, `each` times over HTTP/1.1.
async fn round(port: u16, each: usize, permits: &Arc<Semaphore>, log: &Arc<Log>) {
    let mut tasks = JoinSet::new();
    for kind in KINDS {
        for http2 in [false, true] {
            if kind.http == (if http2 { Http::Only1 } else { Http::Only2 }) {
                continue;
            }
            for _ in 0..if http2 { 1 } else { each } {
                let Ok(permit) = permits.clone().acquire_owned().await else {
                    return;
                };
                let log = log.clone();
                tasks.spawn(async move {
                    if let Err(failure) = end(port, kind, http2, &log).await {
                        log.fail(failure);
                    }
                    drop(permit);
                });
            }
        }
    }
    join(&mut tasks, log).await;
}

/// Waits until the server has nothing more of the clients; says what it still has otherwise.
pub(crate) async fn settle(
    process: &mut Process,
    before: &Sample,
) -> Result<(Sample, Vec<String>), BoxError> {
    let start = Instant::now();
    loop {
        let now = process.sample()?;
        let mut left = Vec::new();
        for name in ["open", "found", "groups", "budget"] {
            if now.number(name) != 0 {
                left.push(format!("{name}: {} are left", now.number(name)));
            }
        }
        for name in ["tasks", "fds"] {
            let (had, has) = (before.number(name), now.number(name));
            if has != had {
                left.push(format!("{name}: {has}, and {had} before"));
            }
        }
        if left.is_empty() || start.elapsed() > PATIENCE {
            return Ok((now, left));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// What does not add up between what clients did and what the server has counted.
fn compare<'a>(kinds: &Value, table: impl IntoIterator<Item = &'a Kind>, log: &Log) -> Vec<String> {
    let mut wrong = Vec::new();
    for kind in table {
        let (name, counted) = (kind.name, &kinds[kind.name]);
        let Done { asked, opened } = log.done().get(name).copied().unwrap_or_default();
        let number = |field: &str| counted[field].as_u64().unwrap_or(u64::MAX);
        let (accepted, failed, refused) = (number("accepted"), number("failed"), number("refused"));
        let mut ended = 0;
        for (how, count) in counted["ends"].as_object().into_iter().flatten() {
            ended += count.as_u64().unwrap_or_default();
            if !kind.ends.contains(&how.as_str()) {
                wrong.push(format!(
                    "{name}: {count} ended as \"{how}\" and not {:?}",
                    kind.ends
                ));
            }
        }
        let adds_up = match kind.opening {
            Opening::Full => {
                accepted == opened && opened == asked && failed == 0 && ended == opened
            }
            Opening::Unread => accepted <= asked && ended + failed == accepted,
            Opening::Half => accepted == 0 && ended == 0 && refused == 0,
            Opening::Refused => accepted == 0 && ended == 0 && refused == asked,
        };
        if !adds_up {
            wrong.push(format!(
                "{name}: {asked} asked for, {opened} opened; counted: {accepted} accepted, \
                 {failed} failed, {refused} refused; {ended} reports"
            ));
        }
        let said = counted["wrong"].as_array();
        wrong.extend(
            said.into_iter()
                .flatten()
                .map(|said| format!("counters of {said}")),
        );
    }
    wrong
}

/// Opens what is there when the server is stopped, stops it, and gives what was wrong. Either all answer
/// the server's Close frame, or none does until the server has no more patience.
async fn drain(
    process: &mut Process,
    answered: bool,
    each: usize,
    log: &Arc<Log>,
) -> Result<Vec<String>, BoxError> {
    let mut tasks = JoinSet::new();
    let mut expected = 0;
    for kind in DRAINED.iter().filter(|kind| kind.is_answered() == answered) {
        for http2 in [false, true] {
            for _ in 0..if http2 { each.div_ceil(STREAMS) } else { each } {
                let (port, log) = (process.plain, log.clone());
                expected += if http2 { STREAMS as u64 } else { 1 };
                tasks.spawn(async move {
                    if let Err(failure) = end(port, kind, http2, &log).await {
                        log.fail(failure);
                    }
                });
            }
        }
    }
    // Each has said one thing, whose echo is queued in the same turn.
    let start = Instant::now();
    loop {
        let sample = process.sample()?;
        let received = DRAINED
            .iter()
            .map(|kind| sample.0["kinds"][kind.name]["received"].as_u64());
        if received.flatten().sum::<u64>() >= expected || start.elapsed() > PATIENCE {
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let stopped = process.ask(&format!("restart {IMPATIENT}"))?;
    join(&mut tasks, log).await;
    println!("stopped with {expected} open: {}", stopped["stopped"]);
    let mut wrong = compare(
        &stopped["kinds"],
        DRAINED.iter().filter(|kind| kind.is_answered() == answered),
        log,
    );
    let [ended, aborted] = [0, 1].map(|how| stopped["stopped"][0]["websockets"][how].as_u64());
    let as_expected = if answered {
        (Some(expected), Some(0))
    } else {
        (Some(0), Some(expected))
    };
    if (ended, aborted) != as_expected {
        wrong.push(format!(
            "the drain ended {ended:?} and aborted {aborted:?} of {expected}"
        ));
    }
    let said = stopped["wrong"].as_array().into_iter().flatten();
    wrong.extend(said.map(|wrong| format!("after the stop: {wrong}")));
    Ok(wrong)
}

/// Waits for all of them; one that panicked is a failure, too.
pub(crate) async fn join(tasks: &mut JoinSet<()>, log: &Log) {
    while let Some(done) = tasks.join_next().await {
        if let Err(panicked) = done {
            log.fail(format!("a client: {panicked}"));
        }
    }
}

/// What there is more than there was when it was warm; `heap` has what each round after that has left.
fn grown(ended: u64, warm: &Sample, after: &Sample, heap: &[u64]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, slack) in [("heap", HEAP), ("rss", RSS)] {
        let (had, has) = (warm.number(name), after.number(name));
        if has > had + slack {
            wrong.push(format!(
                "{name}: {has} bytes, and {had} when it was warm: more than {slack} more"
            ));
        }
    }
    let mut rounds: Vec<_> = heap
        .windows(2)
        .map(|heap| heap[1].saturating_sub(heap[0]))
        .collect();
    println!("the heap grew by {rounds:?} bytes, round by round");
    rounds.sort_unstable();
    let middle = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
    let slack = if ended < FULL { GROWING } else { GROWN };
    if middle > slack {
        wrong.push(format!(
            "heap: {middle} bytes more after a round, in the middle of {}",
            rounds.len()
        ));
    }
    wrong
}

/// Ends about so many connections; gives what was wrong.
pub(crate) async fn run(total: u64) -> Result<Vec<String>, BoxError> {
    let mut process = Process::start()?;
    let log = Arc::new(Log::default());
    let permits = Arc::new(Semaphore::new(AT_A_TIME));
    let start = Instant::now();
    let before = process.sample()?;
    println!("before: {before}");
    let (mut warm, mut now, mut heap) = (None, before.clone(), Vec::new());
    let mut wrong = Vec::new();
    // A fault is not to be looked for twice.
    while wrong.is_empty() && (log.total() < total || heap.len() <= WINDOWS) {
        round(process.plain, STREAMS, &permits, &log).await;
        (now, wrong) = settle(&mut process, &before).await?;
        wrong.extend(log.failures());
        if log.total() >= (total / 4).clamp(LEAST, SETTLED) {
            heap.push(now.number("heap"));
            warm.get_or_insert_with(|| {
                println!("warm after {}: {now}", log.total());
                now.clone()
            });
        }
    }
    println!(
        "after {} in {:.1} s: {now}",
        log.total(),
        start.elapsed().as_secs_f64()
    );
    wrong.extend(compare(&now.0["kinds"], KINDS, &log));
    wrong.extend(grown(
        log.total(),
        &warm.unwrap_or_else(|| now.clone()),
        &now,
        &heap,
    ));
    let failed = log.failures().len();
    let each = (total / 1000).clamp(5, 100) as usize;
    for answered in [true, false] {
        wrong.extend(drain(&mut process, answered, each, &log).await?);
        let (drained, left) = settle(&mut process, &before).await?;
        println!("drained: {drained}");
        wrong.extend(
            left.into_iter()
                .map(|left| format!("after the drain: {left}")),
        );
    }
    // Those of the drains: the others are there already.
    let failures = log.failures();
    wrong.extend(failures.into_iter().skip(failed));
    println!(
        "{} connections were ended in {} ways",
        log.total(),
        KINDS.len() + DRAINED.len()
    );
    Ok(wrong)
}

/// How long the last deadlines of the server may take, with what a busy machine adds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The seconds that those have which do not answer, before they are aborted.
pub(crate) const IMPATIENT: u64 = 2;

/// After how many connections every shard of every registry has had one, at least.
const LEAST: u64 = 1000;

/// After how many no table grows any more.
const SETTLED: u64 = 5000;

/// Over how many rounds the heap is looked at, at least.
const WINDOWS: usize = 6;

/// What most rounds of some 550 may leave in the heap, in bytes: what leaks does so in each of them, and
/// a table grows in few, sooner or later on a busy machine. Before `FULL`, each thread still adds a
/// queue of 160 bytes for every second connection to those that it keeps, up to 1,024.
const GROWING: u64 = 96 << 10;
const GROWN: u64 = 16 << 10;
const FULL: u64 = 10_000;

/// What may be added in all rounds, in bytes: tables and queues, and the compressor of each thread, which
/// has some 400 KiB.
const HEAP: u64 = 4 << 20;

/// What the allocator may keep beside that, in bytes: more connections are open at a time by chance.
const RSS: u64 = 32 << 20;
