//! Rounds over scenarios and servers.

use std::fs;
use std::io;
use std::path::PathBuf;

use tokio_rustls::TlsConnector;

use crate::contender::Contender;
use crate::load::{self, Load, Outcome, Target};
use crate::options::Options;
use crate::process::{Server, can_pin, run_on};
use crate::scenario::{Measure, Scenario};
use crate::serve::CERTIFICATE;

/// How many byte-at-a-time clients `--slow` adds.
const SLOW: usize = 20;

/// What a row's servers reached.
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    /// For each server that took part: a figure per round, `None` where it failed.
    pub(crate) figures: Vec<(String, Vec<Option<f64>>)>,
}

/// Starts servers and loads them.
pub(crate) struct Runner {
    options: Options,
    tls: Option<Tls>,
    pinned: bool,
}

struct Tls {
    connector: TlsConnector,
    file: PathBuf,
}

impl Drop for Tls {
    fn drop(&mut self) {
        // A file in the temporary directory.
        let _removed = fs::remove_file(&self.file);
    }
}

impl Runner {
    pub(crate) fn new(options: &Options) -> io::Result<Self> {
        let pinned = options.threads == 1 && !options.scaling && can_pin();
        let tls = if options.tls {
            Some(certificate()?)
        } else {
            None
        };
        Ok(Self {
            options: options.clone(),
            tls,
            pinned,
        })
    }

    /// Whether servers and clients have a core each.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// One row: every server once a round, there and back.
    pub(crate) fn row(&self, scenario: Scenario, contenders: &[Contender]) -> Row {
        let scenario = if self.options.mixed {
            scenario.mixed()
        } else {
            scenario
        };
        let mut racers: Vec<_> = contenders
            .iter()
            .filter_map(|one| {
                let figures: Vec<Option<f64>> = Vec::new();
                Some((one, one.command(&scenario, &self.options)?, figures))
            })
            .collect();
        for round in 1..=self.rounds(scenario.measure) {
            for (contender, command, figures) in &mut racers {
                let outcome = self.once(command, contender.raw, scenario.load);
                let figure = outcome.map(|outcome| match scenario.measure {
                    Measure::Cpu => outcome.cpu,
                    Measure::Memory => outcome.memory / 1000.0,
                    Measure::P99 => outcome.p99,
                    Measure::Worst => outcome.worst,
                });
                let (row, name) = (scenario.name, &contender.name);
                match &figure {
                    Ok(figure) => eprintln!("{row} round {round}: {name} {figure:.3}"),
                    Err(error) => eprintln!("{row} round {round}: {name} failed: {error}"),
                }
                figures.push(figure.ok());
            }
            racers.reverse();
        }
        // In the order of the columns again.
        let figures = contenders.iter().filter_map(|one| {
            let (_, _, figures) = racers.iter().find(|(racer, ..)| racer.name == one.name)?;
            Some((one.name.clone(), figures.clone()))
        });
        Row {
            scenario,
            figures: figures.collect(),
        }
    }

    /// Memory hardly differs between rounds, and takes long.
    fn rounds(&self, measure: Measure) -> usize {
        match measure {
            Measure::Memory => self.options.rounds.min(2),
            Measure::Cpu | Measure::P99 | Measure::Worst => self.options.rounds,
        }
    }

    /// Starts a server, loads it, ends it.
    pub(crate) fn once(&self, command: &[String], raw: bool, load: Load) -> io::Result<Outcome> {
        let mut environment = Vec::new();
        if let Some(tls) = &self.tls {
            environment.push((CERTIFICATE, tls.file.as_os_str()));
        }
        let server = Server::start(command, &environment, self.pinned)?;
        run_on(self.pinned.then_some(1));
        let target = Target {
            port: server.port,
            pid: server.pid(),
            raw,
            tls: self.tls.as_ref().map(|tls| tls.connector.clone()),
            slow: if self.options.slow { SLOW } else { 0 },
            warm_up: self.options.warm_up,
            duration: self.options.duration,
        };
        load::run(
            &target,
            if self.options.smoke {
                load.small()
            } else {
                load
            },
        )
    }
}

/// A certificate for this run, in a file that the servers read.
fn certificate() -> io::Result<Tls> {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let file = std::env::temp_dir().join(format!("compare-{}.pem", std::process::id()));
    fs::write(&file, made.cert.pem() + &made.signing_key.serialize_pem())?;
    Ok(Tls {
        connector: load::tls(&made.cert)?,
        file,
    })
}
