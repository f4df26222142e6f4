//! What groups over several nodes cost beside the engine's own crate, and beside others who do the same.
//!
//! README.md says how to run and read it.

mod bare;
mod clients;
mod cpu;
mod engine;
mod latency;
mod memory;
mod node;
mod options;
mod others;
mod publish;
mod receive;
mod report;
mod restart;
mod serve;
mod source;
mod stopped;

use std::process::ExitCode;

use engine::{Engine, EngineKind};
use options::{HELP, Options};
use report::Report;

/// What goes wrong is printed and ends it.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[cfg(feature = "allocations")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> Outcome<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", peer, url] => serve::run(peer, url)?,
        ["memory", what, groups] => memory::child(what, groups.parse()?)?,
        ["--help" | "-h"] => print!("{HELP}"),
        _ => measure(&Options::parse(&arguments)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures what was asked for, and prints it.
fn measure(options: &Options) -> Outcome {
    cpu::raise_descriptors();
    let mut report = Report::new(options);
    for kind in &options.engines {
        let Some(mut engine) = Engine::start(*kind, options)? else {
            eprintln!("NOT RUN: {} (no such program)", kind.program());
            continue;
        };
        for row in ROWS {
            if options.takes(row.0) && (row.1 || *kind == EngineKind::Redis) {
                eprintln!("{} {}", kind.name(), row.0);
                (row.2)(&mut engine, options, &mut report)?;
            }
        }
    }
    print!("{}", report.table());
    print!("{}", report.prose);
    Ok(())
}

type Run = fn(&mut Engine, &Options, &mut Report) -> Outcome;

/// What can be measured: its name, whether with each engine, and how.
const ROWS: [(&str, bool, Run); 9] = [
    ("publish", true, publish::run),
    ("receive", true, receive::run),
    ("latency", true, latency::run),
    ("members", true, node::members),
    ("ones", true, node::ones),
    ("memory", true, memory::run),
    ("restart", true, restart::run),
    ("stopped", true, stopped::run),
    ("others", false, others::run),
];
