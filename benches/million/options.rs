//! The command line.

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) sockets: Vec<usize>,
    pub(crate) streams: usize,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) threads: usize,
    pub(crate) group: bool,
    pub(crate) pings: bool,
    pub(crate) drain: bool,
    pub(crate) raw: bool,
    pub(crate) plot: Option<String>,
    /// Server and clients have a core each.
    pub(crate) pinned: bool,
}

/// What `--help` says.
pub(crate) const HELP: &str = "\
Opens WebSockets over HTTP/2 in one server process, and measures it while they are open.

Usage: million [OPTIONS]

  --sockets N,N…    how many are open (default: 10000,100000,1000000)
  --streams N       on each connection (default: 100)
  --seconds S       how long echoes are measured (default: 5)
  --rounds N        broadcasts (default: 3)
  --threads N       of the server's runtime (default: 1, which is not tokio's multi-thread runtime)
  --no-group        none is in a group: no broadcast
  --no-drain        breaks them off in the end instead
  --pings           each WebSocket is pinged every 20 seconds, as by default, beside its connection
  --raw             also a server of the h2 crate alone, which sends DATA back unread
  --plot FILE       memory and cost of an echo as an SVG
";

impl Options {
    /// Reads the arguments; `Err` says which one is wrong.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            sockets: vec![10_000, 100_000, 1_000_000],
            streams: 100,
            seconds: 5.0,
            rounds: 3,
            threads: 1,
            group: true,
            pings: false,
            drain: true,
            raw: false,
            plot: None,
            pinned: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{argument} of what?"))
            };
            match argument.as_str() {
                "--sockets" => {
                    let numbers = value()?.split(',').map(number);
                    options.sockets = numbers.collect::<Result<_, _>>()?;
                }
                "--streams" => options.streams = number(value()?)?,
                "--seconds" => options.seconds = number(value()?)?,
                "--rounds" => options.rounds = number(value()?)?,
                "--threads" => options.threads = number(value()?)?,
                "--no-group" => options.group = false,
                "--no-drain" => options.drain = false,
                "--pings" => options.pings = true,
                "--raw" => options.raw = true,
                "--plot" => options.plot = Some(value()?.clone()),
                "--pinned" => options.pinned = true,
                // That of `cargo bench`.
                "--bench" => {}
                _ => return Err(format!("no option {argument}")),
            }
        }
        if options.streams == 0 || options.sockets.contains(&0) {
            return Err("none at all?".to_owned());
        }
        Ok(options)
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}
