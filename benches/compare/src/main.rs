//! WebSocket servers beside each other: what a message costs the server's process, and what a
//! connection takes of its memory.
//!
//! Run: `cargo run --release --manifest-path benches/compare/Cargo.toml`; `-- --help` says more, and
//! `README.md` how to read it. Linux only: the figures come from `/proc`.

mod contender;
mod kernel;
mod load;
mod options;
mod plot;
mod process;
mod report;
mod run;
mod scaling;
mod scenario;
mod serve;

use std::error::Error;
use std::time::Instant;

use contender::Contender;
use options::{HELP, Options};
use run::Runner;
use scenario::{SCENARIOS, Scenario};
use serve::{Job, Mode};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let descriptors = process::raise_descriptors();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", name, port, mode, flags @ ..] => {
            let mode = Mode::named(mode).ok_or("echo, shared, dedicated or broadcast?")?;
            let threads = flags.iter().skip_while(|flag| **flag != "--threads").nth(1);
            let threads = threads.map_or(Ok(1), |threads| threads.parse())?;
            let job = Job {
                mode,
                http2: flags.contains(&"--http2"),
            };
            serve::run(name, port.parse()?, job, threads)
        }
        ["--help" | "-h", ..] => {
            print!("{HELP}");
            Ok(())
        }
        _ => compare(&Options::parse(&arguments)?, descriptors),
    }
}

/// Measures what was asked for, and prints it.
fn compare(options: &Options, descriptors: u64) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut contenders, left_out) = contender::all(options)?;
    if options.list {
        list(&contenders);
        return Ok(());
    }
    let all: Vec<&str> = contenders.iter().map(|one| one.name.as_str()).collect();
    known(&options.servers, &all, "server")?;
    if !options.servers.is_empty() {
        contenders.retain(|one| options.servers.contains(&one.name));
    }
    let rows = scenarios(options)?;
    let (runner, start) = (Runner::new(options)?, Instant::now());
    let kernel = kernel::measure(runner.is_pinned())?;
    let result = match &options.plot {
        Some(file) => plot::run(&runner, &contenders, options, descriptors, file)?,
        None if options.scaling => scaling::run(&contenders, options)?,
        None => {
            let mut done = Vec::new();
            for (index, scenario) in rows.iter().enumerate() {
                let seconds = start.elapsed().as_secs();
                let (number, of) = (index + 1, rows.len());
                eprintln!(
                    "[{number}/{of}, {seconds} s] {}: {}",
                    scenario.name, scenario.about
                );
                done.push(runner.row(*scenario, &contenders));
            }
            report::table(&done, &contenders)
        }
    };
    eprintln!("done after {} s", start.elapsed().as_secs());
    println!(
        "{}",
        report::head(&contenders, options, runner.is_pinned(), kernel)
    );
    println!("{result}");
    for reason in left_out {
        println!("Left out: {reason}.");
    }
    Ok(())
}

/// The rows that were asked for, in the order of the list.
fn scenarios(options: &Options) -> Result<Vec<Scenario>, String> {
    let all: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    known(&options.scenarios, &all, "row")?;
    let asked = |scenario: &&Scenario| match options.scenarios.as_slice() {
        [] => scenario.is_default(),
        names => names.iter().any(|name| name == scenario.name),
    };
    Ok(SCENARIOS.iter().filter(asked).copied().collect())
}

fn known(names: &[String], all: &[&str], what: &str) -> Result<(), String> {
    match names.iter().find(|name| !all.contains(&name.as_str())) {
        Some(name) => Err(format!("no {what} {name}; there are {}", all.join(", "))),
        None => Ok(()),
    }
}

fn list(contenders: &[Contender]) {
    for scenario in SCENARIOS {
        println!("{:8} {}", scenario.name, scenario.about);
    }
    println!();
    for contender in contenders {
        println!("{:18} {}", contender.name, contender.version);
    }
}
