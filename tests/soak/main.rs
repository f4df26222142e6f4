//! Many connections of many kinds, for a long time; nothing of them may be left.
//!
//! `cargo test` ends some 4,400 connections in every way there is (kinds.rs), over HTTP/1.1 and HTTP/2.
//! `SOAK_ENDINGS=50000` ends so many. `SOAK_SECONDS=600` soaks the server for so long (soak.rs), which is
//! what `run` does, with foreign clients beside ours.
//!
//! The server is a process of its own, of this same program. It has no harness: the process would be the
//! harness's, too.

mod endings;
mod kinds;
mod lines;
mod ours;
mod process;
mod raw;
mod server;
mod soak;

use std::{env, process::ExitCode};

use tokio::runtime::Builder;
use tower::BoxError;

/// The argument that makes this program the server.
const SERVER: &str = "the-server-of-the-soak";

fn main() -> ExitCode {
    let first = env::args().nth(1);
    if first.as_deref() == Some(SERVER) {
        return report(server::run().map(|()| Vec::new()));
    }
    if !cfg!(target_os = "linux") {
        println!("NOT RUN: the soak (it reads /proc, and dials from many loopback addresses)");
        return ExitCode::SUCCESS;
    }
    report(test())
}

fn test() -> Result<Vec<String>, BoxError> {
    let number = |name: &str| -> Result<Option<u64>, BoxError> {
        let value = env::var(name).ok();
        Ok(value.map(|value| value.parse()).transpose()?)
    };
    let (endings, seconds) = (number("SOAK_ENDINGS")?, number("SOAK_SECONDS")?);
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match seconds {
            Some(seconds) => soak::run(seconds).await,
            None => endings::run(endings.unwrap_or(SHORT)).await,
        }
    })
}

/// Says what was wrong, if anything.
fn report(result: Result<Vec<String>, BoxError>) -> ExitCode {
    let wrong = result.unwrap_or_else(|error| vec![error.to_string()]);
    for wrong in wrong.iter().take(MOST) {
        eprintln!("WRONG: {wrong}");
    }
    if wrong.len() > MOST {
        eprintln!("WRONG: {} more", wrong.len() - MOST);
    }
    if wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// How many faults are written out.
const MOST: usize = 40;

/// How many connections `cargo test` ends.
const SHORT: u64 = 4000;
