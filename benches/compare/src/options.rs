//! The command line.

use std::time::Duration;

/// What `--help` says.
pub(crate) const HELP: &str = "\
Compares WebSocket servers: CPU of the server's process per message, memory per connection.

Usage: compare [OPTIONS]

  --scenarios NAMES   rows to measure, with commas between (default: R1 to R16)
  --servers NAMES     servers to measure (default: all there are)
  --rounds N          rounds over the servers (default: 5)
  --seconds S         how long each measurement takes (default: 0.8)
  --threads N         a multi-thread runtime with so many threads (default: one thread)
  --tls               over TLS 1.3
  --mixed             messages from 20 B to 16 KiB instead of one size
  --slow              beside 20 clients that send a byte every millisecond
  --external NAME=COMMAND
                      another echo server; {port} in the command is where it has to listen
  --plot FILE         instead of the table: cost and memory over the number of connections,
                      as a table and as an SVG
  --scaling           instead of the table: one thread and two by turns (rows by default: R1, R3, R9)
  --smoke             one short round with few connections: does everything run?
  --list              names the rows and the servers
";

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) scenarios: Vec<String>,
    pub(crate) servers: Vec<String>,
    pub(crate) external: Vec<(String, String)>,
    pub(crate) rounds: usize,
    pub(crate) duration: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) threads: usize,
    pub(crate) tls: bool,
    pub(crate) mixed: bool,
    pub(crate) slow: bool,
    pub(crate) smoke: bool,
    pub(crate) list: bool,
    pub(crate) scaling: bool,
    pub(crate) plot: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scenarios: Vec::new(),
            servers: Vec::new(),
            external: Vec::new(),
            rounds: 5,
            duration: Duration::from_millis(800),
            warm_up: Duration::from_millis(150),
            threads: 1,
            tls: false,
            mixed: false,
            slow: false,
            smoke: false,
            list: false,
            scaling: false,
            plot: None,
        }
    }
}

impl Options {
    /// Reads the arguments; `Err` says which one is wrong.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .cloned()
                    .ok_or(format!("{argument} of what?"))
            };
            match argument.as_str() {
                "--scenarios" => options.scenarios = names(&value()?),
                "--servers" => options.servers = names(&value()?),
                "--rounds" => options.rounds = number(&value()?)?,
                "--seconds" => {
                    let seconds: f64 = number(&value()?)?;
                    options.duration =
                        Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
                }
                "--threads" => options.threads = number(&value()?)?,
                "--tls" => options.tls = true,
                "--mixed" => options.mixed = true,
                "--slow" => options.slow = true,
                "--external" => {
                    let server = value()?;
                    let (name, command) = server.split_once('=').ok_or("NAME=COMMAND")?;
                    options.external.push((name.to_owned(), command.to_owned()));
                }
                "--plot" => options.plot = Some(value()?),
                "--scaling" => options.scaling = true,
                "--smoke" => options.smoke = true,
                "--list" => options.list = true,
                _ => return Err(format!("no option {argument}")),
            }
        }
        if options.smoke {
            options.rounds = 1;
            options.duration = Duration::from_millis(40);
            options.warm_up = Duration::from_millis(10);
        }
        Ok(options)
    }

    /// What is not as by default, for the head of the table.
    pub(crate) fn differences(&self) -> String {
        let mut differences = Vec::new();
        if self.threads > 1 {
            differences.push(format!("{} threads", self.threads));
        }
        let flags = [
            (self.tls, "TLS"),
            (self.mixed, "mixed sizes"),
            (self.slow, "slow clients beside"),
            (self.smoke, "a smoke run, whose figures mean nothing"),
        ];
        for (_, name) in flags.into_iter().filter(|(set, _)| *set) {
            differences.push(name.to_owned());
        }
        differences.join(", ")
    }
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::to_owned).collect()
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}
