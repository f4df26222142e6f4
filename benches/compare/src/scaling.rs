//! What a second thread brings: `--scaling`.

use std::io;

use crate::contender::Contender;
use crate::load::Outcome;
use crate::options::Options;
use crate::report::{median, rounded};
use crate::run::Runner;
use crate::scenario::{SCENARIOS, Scenario};

/// What is measured unless rows are named.
const ROWS: [&str; 3] = ["R1", "R3", "R9"];

/// Measures with one thread and with two by turns, and returns the table.
pub(crate) fn run(contenders: &[Contender], options: &Options) -> io::Result<String> {
    let is_asked = |scenario: &&Scenario| match options.scenarios.as_slice() {
        [] => ROWS.contains(&scenario.name),
        names => names.iter().any(|name| name == scenario.name),
    };
    let mut table = "| | server | messages a second, 1 thread | 2 threads | gain | CPU a message, \
                     1 thread | 2 threads / 1 | cores of the server, 1 thread | 2 threads | \
                     cores of the clients |\n\
                     |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let [one, two] = [1, 2].map(|threads| Options {
        threads,
        ..options.clone()
    });
    let [one, two] = [(Runner::new(&one)?, one), (Runner::new(&two)?, two)];
    for scenario in SCENARIOS.iter().filter(is_asked) {
        for contender in contenders {
            let command = |options| contender.command(scenario, options);
            // Without the number of threads among its words it has as many as it likes.
            let (Some(first), Some(second)) = (command(&one.1), command(&two.1)) else {
                continue;
            };
            if first == second {
                continue;
            }
            let mut pairs = Vec::new();
            for round in 1..=options.rounds {
                let of = |runner: &Runner, command: &[String]| {
                    runner.once(command, contender.raw, scenario.load)
                };
                match (of(&one.0, &first), of(&two.0, &second)) {
                    (Ok(one), Ok(two)) => pairs.push((one, two)),
                    (Err(error), _) | (_, Err(error)) => {
                        let (row, name) = (scenario.name, &contender.name);
                        eprintln!("{row} round {round}: {name} failed: {error}");
                    }
                }
            }
            table += &line(scenario.name, &contender.name, &pairs);
        }
    }
    Ok(table)
}

fn line(row: &str, name: &str, pairs: &[(Outcome, Outcome)]) -> String {
    let middle = |of: &dyn Fn(&(Outcome, Outcome)) -> f64| {
        let all: Vec<f64> = pairs.iter().map(of).collect();
        median(all).unwrap_or(f64::NAN)
    };
    let ends = |of: &dyn Fn(&(Outcome, Outcome)) -> f64| {
        let low = pairs.iter().map(of).fold(f64::MAX, f64::min);
        let high = pairs.iter().map(of).fold(0.0, f64::max);
        format!("**{:.2}** ({low:.2}–{high:.2})", middle(of))
    };
    let cores = |one: &Outcome| format!("{:.2}", one.rate * one.cpu / 1e6);
    let typical = |of: fn(&(Outcome, Outcome)) -> Outcome| {
        let mut all: Vec<Outcome> = pairs.iter().map(of).collect();
        all.sort_by(|one, other| one.rate.total_cmp(&other.rate));
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    let (one, two) = (typical(|pair| pair.0), typical(|pair| pair.1));
    format!(
        "| {row} | {name} | {:.0} | {:.0} | {} | {} µs | {} | {} | {} | {:.2} |\n",
        one.rate,
        two.rate,
        ends(&|(one, two)| two.rate / one.rate),
        rounded(middle(&|(one, _)| one.cpu)),
        ends(&|(one, two)| two.cpu / one.cpu),
        cores(&one),
        cores(&two),
        two.rate * two.clients / 1e6,
    )
}
