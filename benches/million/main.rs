//! Many WebSockets in one process: what they take of its memory, and what a message, a broadcast and
//! their end cost while all are open.
//!
//! Run: `cargo bench --all-features --bench million`; `-- --help` says more. Linux only: the figures come
//! from `/proc`. The server is a process of its own; the clients are another, written by hand, which
//! speaks just enough of HTTP/2. 1,000,000 WebSockets take some 10,000 descriptors of each, and 4 GiB.

mod connection;
mod level;
mod options;
mod process;
mod raw;
mod report;
mod server;
mod stretch;
mod wire;

use std::{error::Error, fs, process::ExitCode};

use tokio::{runtime::Builder, task::LocalSet};

use level::Level;
use options::{HELP, Options};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("serve") => {
            let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
            server::run(&server::Settings {
                raw: has("raw"),
                group: has("group"),
                pings: has("pings"),
                threads: arguments.get(1).map_or(Ok(1), |threads| threads.parse())?,
            })?;
        }
        Some("measure") => measure(&Options::parse(&arguments[1..])?)?,
        Some("--help" | "-h") => print!("{HELP}"),
        _ => {
            let options = Options::parse(&arguments)?;
            // Once more, with what the clients need: descriptors, and a core.
            let pinned = options.threads == 1 && process::can_pin();
            let mut clients = process::with_descriptors(pinned.then_some(1))?;
            clients.arg("measure").args(&arguments);
            clients.args(pinned.then_some("--pinned"));
            let success = clients.status()?.success();
            return Ok(if success {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures what was asked for, and prints it.
fn measure(options: &Options) -> Result<(), Box<dyn Error>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut levels, mut limits) = (Vec::new(), Vec::new());
    for sockets in &options.sockets {
        let one = |raw| LocalSet::new().block_on(&runtime, level::run(options, *sockets, raw));
        levels.push(one(false)?);
        if options.raw {
            limits.push(one(true)?);
        }
    }
    println!("{}", report::table(&levels, &limits, options));
    if let Some(file) = &options.plot {
        fs::write(file, report::svg(&levels, &limits))?;
    }
    if levels.iter().any(Level::has_losses) {
        return Err("some were broken off".into());
    }
    Ok(())
}
