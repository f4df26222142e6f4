//! The command line.

use std::path::PathBuf;

use crate::{Outcome, engine::EngineKind};

/// What is asked for.
pub(crate) struct Options {
    pub(crate) engines: Vec<EngineKind>,
    rows: Vec<String>,
    pub(crate) rounds: usize,
    /// How much is done in a round, 1.0 as a rule.
    pub(crate) scale: f64,
    /// Where the programs of the engines are.
    pub(crate) programs: PathBuf,
    pub(crate) peers: Vec<String>,
}

/// What `--help` says.
pub(crate) const HELP: &str = "\
Measures groups over several nodes, beside the engine's own crate and beside others.

Usage: cluster [OPTIONS]

  --engines LIST    of redis,nats (default: both)
  --rows LIST       of publish,receive,latency,members,ones,memory,restart,stopped,others (default: all)
  --peers LIST      in the row `others` (default: all that are there)
  --rounds N        of each measurement, by turns (default: 7)
  --programs DIR    where redis-server and nats-server are (default: target/engines)
  --smoke           does everything run? Figures that mean nothing
";

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    ///
    /// One that is wrong.
    pub(crate) fn parse(arguments: &[String]) -> Outcome<Self> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/engines");
        let mut options = Self {
            engines: vec![EngineKind::Redis, EngineKind::Nats],
            rows: Vec::new(),
            rounds: 7,
            scale: 1.0,
            programs: root.into(),
            peers: Vec::new(),
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next();
                value.ok_or_else(|| format!("{argument} of what?"))
            };
            let list = |value: &String| value.split(',').map(str::to_owned).collect::<Vec<_>>();
            match argument.as_str() {
                "--engines" => {
                    let names = list(value()?);
                    let kinds = names.iter().map(|name| EngineKind::named(name));
                    options.engines = kinds.collect::<Outcome<_>>()?;
                }
                "--rows" => options.rows = list(value()?),
                "--peers" => options.peers = list(value()?),
                "--rounds" => options.rounds = value()?.parse()?,
                "--programs" => options.programs = value()?.into(),
                "--smoke" => (options.rounds, options.scale) = (1, 0.02),
                _ => return Err(format!("no option {argument}").into()),
            }
        }
        Ok(options)
    }

    /// Reports whether a row is asked for.
    pub(crate) fn takes(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|name| name == row)
    }

    /// Returns so many, or fewer for a smoke run.
    pub(crate) fn many(&self, full: usize) -> usize {
        ((full as f64 * self.scale) as usize).max(2)
    }
}
