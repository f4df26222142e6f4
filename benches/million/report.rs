//! The table and the plot.

use crate::{level::Level, options::Options};

/// A line for each thing that was measured, a column for each number of WebSockets.
pub(crate) fn table(levels: &[Level], limits: &[Level], options: &Options) -> String {
    let mut table = "|".to_owned();
    for level in levels {
        table += &format!(" | {} open", level.sockets);
    }
    table += &format!(" |\n|---|{}", "---|".repeat(levels.len()));
    let mut row = |name: &str, cell: &dyn Fn(&Level) -> Option<String>| {
        let cells: Vec<_> = levels.iter().filter_map(cell).collect();
        if cells.len() == levels.len() {
            table += &format!("\n| {name} | {} |", cells.join(" | "));
        }
    };
    let limit = |level: &Level| {
        limits
            .iter()
            .find(|limit| limit.sockets == level.sockets)
            .cloned()
    };
    row("memory of each", &|level| Some(kilobytes(level.memory)));
    row("… of a stream of `h2` alone", &|level| {
        Some(kilobytes(limit(level)?.memory))
    });
    row("CPU to open one, and for one echo", &|level| {
        Some(micros(level.open))
    });
    row("CPU of each while idle, per second", &|level| {
        Some(micros(level.idle))
    });
    row("CPU of an echo, 20 B (the kernel's part)", &|level| {
        Some(echo(level))
    });
    row("… of `h2` alone", &|level| Some(echo(&limit(level)?)));
    row("a broadcast of 100 B: until queued for all", &|level| {
        Some(millis(level.broadcast.as_ref()?.queued))
    });
    row("… until all have it", &|level| {
        Some(millis(level.broadcast.as_ref()?.received))
    });
    row("… CPU for each", &|level| {
        Some(micros(level.broadcast.as_ref()?.each))
    });
    row("… its longest stretch", &|level| {
        Some(format!("{} µs", level.broadcast.as_ref()?.stretch))
    });
    row("… memory at its peak, for each", &|level| {
        Some(kilobytes(level.broadcast.as_ref()?.peak))
    });
    row("… memory of each when all have had it", &|level| {
        level.broadcast.as_ref()?;
        Some(kilobytes(level.memory_later))
    });
    row("… closed as too slow", &|level| {
        Some(level.broadcast.as_ref()?.closed.to_string())
    });
    row("draining all", &|level| {
        Some(millis(level.drain.as_ref()?.time))
    });
    row("… CPU for each", &|level| {
        Some(micros(level.drain.as_ref()?.each))
    });
    row("… its longest stretch", &|level| {
        Some(format!("{} µs", level.drain.as_ref()?.stretch))
    });
    row("… close codes", &|level| {
        Some(level.drain.as_ref()?.codes.clone())
    });
    row("… aborted; ended by a reset", &|level| {
        let drain = level.drain.as_ref()?;
        Some(format!("{}; {}", drain.aborted, drain.reset))
    });
    row("… memory left, for each", &|level| {
        Some(kilobytes(level.drain.as_ref()?.left))
    });
    let phases = ["opening", "broadcasting", "draining"];
    for (index, phase) in phases.iter().enumerate().filter(|_| cfg!(tokio_unstable)) {
        row(
            &format!("longest poll while {phase} (more than 500 µs)"),
            &|level| {
                let (longest, long) = level.polls[index];
                Some(format!("{longest} µs ({long})"))
            },
        );
    }
    let (streams, threads) = (options.streams, options.threads);
    let pings = if options.pings {
        "pinged every 20 s"
    } else {
        "without pings of their own"
    };
    format!("{table}\n\n{streams} WebSockets on each connection, {pings}; {threads} thread(s).")
}

fn echo(level: &Level) -> String {
    format!("{} ({:.1})", micros(level.echo), level.echo_kernel)
}

fn kilobytes(bytes: f64) -> String {
    format!("{:.2} KB", bytes / 1000.0)
}

fn micros(micros: f64) -> String {
    format!("{micros:.2} µs")
}

fn millis(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1000.0)
}

/// Two charts beside each other.
pub(crate) fn svg(levels: &[Level], limits: &[Level]) -> String {
    let memory = |level: &Level| level.memory / 1000.0;
    let echo = |level: &Level| level.echo;
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 300\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"720\" height=\"300\" fill=\"#fff\"/>\n",
    );
    svg += &chart(40.0, "KB of memory per WebSocket", levels, limits, memory);
    svg += &chart(410.0, "µs of CPU per echo", levels, limits, echo);
    svg + "</svg>\n"
}

/// One chart, whose numbers of WebSockets are logarithmic.
fn chart(
    left: f64,
    title: &str,
    levels: &[Level],
    limits: &[Level],
    value: fn(&Level) -> f64,
) -> String {
    let all = || levels.iter().chain(limits);
    let most = all().map(value).fold(0.1, f64::max);
    // A round number above it.
    let step = 10_f64.powf((most / 2.0).log10().floor());
    let high = (most / step).ceil() * step;
    let of = |level: &Level| (level.sockets as f64).log10();
    let (first, last) = (
        all().map(of).fold(f64::MAX, f64::min),
        all().map(of).fold(0.0, f64::max),
    );
    let x = |level: &Level| left + WIDTH * (of(level) - first) / (last - first).max(1.0);
    let y = |value: f64| TOP + HEIGHT * (1.0 - value / high);
    let mut svg = format!("<text x=\"{left}\" y=\"18\" font-weight=\"bold\">{title}</text>\n");
    for quarter in 0..=4 {
        let value = high * f64::from(quarter) / 4.0;
        svg += &format!(
            "<path d=\"M{left} {y:.1}h{WIDTH}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>\n",
            left - 5.0,
            y(value) + 4.0,
            y = y(value),
        );
    }
    for level in levels {
        svg += &format!(
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            x(level),
            TOP + HEIGHT + 18.0,
            level.sockets,
        );
    }
    for (index, (name, line, colour)) in [
        ("this crate", levels, "#0072b2"),
        ("h2 alone", limits, "#7f7f7f"),
    ]
    .into_iter()
    .enumerate()
    {
        let points = line
            .iter()
            .map(|level| format!("{:.1},{:.1}", x(level), y(value(level))));
        let points = points.collect::<Vec<_>>().join(" ");
        if !points.is_empty() {
            svg += &format!(
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{}\" y=\"290\" fill=\"{colour}\">{name}</text>\n",
                left + 100.0 * index as f64,
            );
        }
    }
    svg
}

const TOP: f64 = 32.0;
const WIDTH: f64 = 270.0;
const HEIGHT: f64 = 210.0;
