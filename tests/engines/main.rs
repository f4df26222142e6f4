//! Two servers, a thousand clients each, and a real engine between them that is killed, stopped, cut and moved.
//!
//! What is tried, and what comes out of it, is in the README beside this file. `ENGINES` says what is run, several
//! words with commas between them: `all` is everything and not the short set, `required` makes it an error if an
//! engine's program is missing, `keep` leaves the logs of all processes where they are. An argument that does not
//! begin with a hyphen runs what has it in its name.
//!
//! The servers are processes of this same program. It has no harness: they would be the harness's, too.

mod checks;
mod engine;
mod load;
mod node;
mod proxy;
mod row;
mod scenario;
mod scenarios;
mod server;
mod stage;

use std::{env, process::ExitCode, time::Instant};

use tokio::runtime::Builder;
use tower::BoxError;

use self::{engine::reaper, row::Row, scenario::Scenario, server::SERVER};

fn main() -> ExitCode {
    let first = env::args().nth(1);
    let result = match first.as_deref() {
        Some(SERVER) => server::run(),
        Some(reaper::REAPER) => reaper::run(),
        _ if !cfg!(target_os = "linux") => {
            println!("NOT RUN: tests with real engines (they read /proc)");
            Ok(())
        }
        _ => test(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Reports whether a word is among those of `ENGINES`.
fn wants(word: &str) -> bool {
    env::var("ENGINES").is_ok_and(|words| words.split(',').any(|it| it.trim() == word))
}

fn test() -> Result<(), BoxError> {
    let filter = env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let named = |name: &str| {
        filter
            .as_ref()
            .is_none_or(|filter| name.contains(filter.as_str()))
    };
    reaper::start()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut wrong = runtime.block_on(checks::run());
    let all = scenarios::all();
    let asked_for =
        |it: &Scenario| named(it.name) && (it.short || wants("all") || filter.is_some());
    let chosen: Vec<_> = all.iter().filter(|it| asked_for(it)).collect();
    let (there, missing): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|it| {
        it.needs
            .is_none_or(|program| engine::find(program).is_some())
    });
    let start = Instant::now();
    wrong.extend(runtime.block_on(play(&there)));
    drop(runtime);
    reaper::stop();
    println!(
        "{} scenarios in {} s",
        there.len(),
        start.elapsed().as_secs()
    );
    skipped(&missing, &mut wrong);
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(wrong
            .iter()
            .map(|it| format!("WRONG: {it}\n"))
            .collect::<String>()
            .into()),
    }
}

/// Plays scenarios, each a line of the table; what is returned is wrong.
async fn play(scenarios: &[&Scenario]) -> Vec<String> {
    let mut wrong = Vec::new();
    if !scenarios.is_empty() {
        println!("{}", Row::HEAD);
    }
    for scenario in scenarios {
        let said = match scenario.perform().await {
            Ok(row) => {
                println!("{row}");
                row.wrong
            }
            Err(error) => vec![error.to_string()],
        };
        let name = scenario.name;
        wrong.extend(said.iter().map(|what| format!("{name}: {what}")));
    }
    wrong
}

/// Says what could not be run, and that this is wrong where it has to be there.
fn skipped(missing: &[&Scenario], wrong: &mut Vec<String>) {
    let mut programs: Vec<_> = missing.iter().filter_map(|it| it.needs).collect();
    programs.sort_unstable();
    programs.dedup();
    for program in programs {
        let what = format!("{program} not found; .ci/engines fetches it");
        eprintln!("SKIPPED: {what}");
        if wants("required") {
            wrong.push(what);
        }
    }
    if !missing.is_empty() {
        eprintln!("SKIPPED: {} scenarios with real engines", missing.len());
    }
}
