//! A server and its clients in one thread, under one clock that does not run by itself: what they do
//! is drawn from a seed, and comes again with it.
//!
//! - `SIM_SEEDS`: how many seeds are run (200);
//! - `SIM_FROM`: the first of them (0);
//! - `SIM_SEED`: this one alone, with all that happened;
//! - `SIM_CLIENTS`: no more clients than this, to make a seed that fails a smaller one;
//! - `SIM_THREADS`: how many run at a time (as many as there are cores).
//!
//! See `README.md` beside this for what is checked, and what was found.

mod client;
mod conn;
mod line;
mod message;
mod plan;
mod rng;
mod server;
mod world;

use std::{
    env, panic, process,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    rng::lock,
    world::{Outcome, run},
};

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn main() {
    let most_clients = number("SIM_CLIENTS").unwrap_or(100) as usize;
    silence();
    if let Some(seed) = number("SIM_SEED") {
        let outcome = watched(seed, most_clients, true);
        print!("{}", outcome.trace);
        if let Some(failure) = outcome.failures.first() {
            println!("seed {seed}: {failure}");
            process::exit(1);
        }
        println!("seed {seed}: good");
        return;
    }
    let (from, seeds) = (
        number("SIM_FROM").unwrap_or(0),
        number("SIM_SEEDS").unwrap_or(200),
    );
    let cores = thread::available_parallelism().map_or(1, usize::from) as u64;
    let threads = number("SIM_THREADS").unwrap_or(cores).max(1);
    // Else masking keys, and what is drawn like them, are the operating system's.
    if cfg!(sim) {
        same_seed_is_the_same_run(from, most_clients);
    }
    all(from, seeds, threads, most_clients);
}

/// Runs all seeds, some at a time.
fn all(from: u64, seeds: u64, threads: u64, most_clients: usize) {
    let begin = Instant::now();
    let (next, done) = (AtomicU64::new(from), AtomicU64::new(0));
    let (sessions, messages) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Relaxed) {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= from + seeds {
                        break;
                    }
                    let outcome = watched(seed, most_clients, false);
                    sessions.fetch_add(outcome.sessions as u64, Relaxed);
                    messages.fetch_add(outcome.messages, Relaxed);
                    if let Some(failure) = outcome.failures.first() {
                        failed.store(true, Relaxed);
                        told(seed, failure);
                    }
                    let done = done.fetch_add(1, Relaxed) + 1;
                    if done.is_multiple_of(10_000) {
                        println!("{done} seeds in {:?}", begin.elapsed());
                    }
                }
            });
        }
    });
    println!(
        "{} seeds from {from} on, {} sessions, {} messages, in {:?}",
        done.load(Relaxed),
        sessions.load(Relaxed),
        messages.load(Relaxed),
        begin.elapsed(),
    );
    if failed.load(Relaxed) {
        process::exit(1);
    }
}

fn told(seed: u64, failure: &str) {
    println!("seed {seed}: {failure}");
    println!("once more, with all that happens: SIM_SEED={seed} .ci/sim");
}

/// A run depends on nothing but its seed.
fn same_seed_is_the_same_run(from: u64, most_clients: usize) {
    for seed in from..from + 20 {
        let [first, second] = [(), ()].map(|()| watched(seed, most_clients, true).trace);
        if first != second {
            let differ = first
                .lines()
                .zip(second.lines())
                .find(|(first, second)| first != second);
            println!("seed {seed} is not the same twice: {differ:?}");
            process::exit(1);
        }
    }
}

/// Runs a seed; one that does not come to its end is told of, and ends everything.
fn watched(seed: u64, most_clients: usize, traced: bool) -> Outcome {
    let _watch = Watch::begin(seed);
    // In a thread of its own: what the crate keeps for a thread is the same each time then.
    let outcome = thread::scope(|scope| scope.spawn(|| run(seed, most_clients, traced)).join());
    outcome.unwrap_or_else(|_| Outcome::of_a_panic())
}

/// What runs, and since when.
static RUNNING: Mutex<Vec<(u64, Instant)>> = Mutex::new(Vec::new());

/// As long as it lives, a seed runs.
struct Watch(u64);

impl Watch {
    fn begin(seed: u64) -> Self {
        static WATCHING: std::sync::Once = std::sync::Once::new();
        WATCHING.call_once(|| drop(thread::spawn(watch)));
        lock(&RUNNING).push((seed, Instant::now()));
        Self(seed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&RUNNING).retain(|(seed, _)| *seed != self.0);
    }
}

/// Ends everything when a seed takes much longer than any does.
fn watch() {
    loop {
        thread::sleep(Duration::from_secs(1));
        let stuck = lock(&RUNNING)
            .iter()
            .find(|(_, since)| since.elapsed() > STUCK)
            .copied();
        if let Some((seed, _)) = stuck {
            told(
                seed,
                "a poll that never returns, or tasks that wake each other for ever",
            );
            process::exit(1);
        }
    }
}

/// Planned panics are said by nobody.
fn silence() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let planned = info.payload().downcast_ref::<String>();
        let planned = planned.is_some_and(|text| text.contains(server::PLANNED))
            || info
                .payload()
                .downcast_ref::<&str>()
                .is_some_and(|text| text.contains(server::PLANNED));
        if !planned {
            before(info);
        }
    }));
}

/// Longer than any seed takes.
const STUCK: Duration = Duration::from_secs(60);
