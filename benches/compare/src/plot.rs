//! What a message and a connection cost while connections grow many: `--plot`.

use std::fs;
use std::io;

use crate::contender::Contender;
use crate::load::{Load, Sockets};
use crate::options::Options;
use crate::report::{median, rounded};
use crate::run::Runner;
use crate::scenario::SCENARIOS;

/// How many connections, as far as there are descriptors.
const STEPS: [usize; 5] = [100, 1_000, 10_000, 30_000, 100_000];

/// What both processes need beside the connections.
const SPARE: usize = 200;

/// A server's line: connections, µs per message, KB per connection.
struct Line {
    name: String,
    points: Vec<(usize, f64, f64)>,
}

/// Measures, writes the SVG, and returns the table.
pub(crate) fn run(
    runner: &Runner,
    contenders: &[Contender],
    options: &Options,
    descriptors: u64,
    file: &str,
) -> io::Result<String> {
    let most = usize::try_from(descriptors)
        .unwrap_or(usize::MAX)
        .saturating_sub(SPARE);
    let mut steps: Vec<usize> = STEPS.into_iter().filter(|step| *step <= most).collect();
    if steps
        .last()
        .is_some_and(|last| *last < STEPS[STEPS.len() - 1])
    {
        steps.push(most);
    }
    // The servers of the first row are those that echo over HTTP/1.1.
    let racers = contenders.iter().filter_map(|contender| {
        let command = contender.command(&SCENARIOS[0], options)?;
        let line = Line {
            name: contender.name.clone(),
            points: Vec::new(),
        };
        Some((contender, command, line))
    });
    let mut racers: Vec<_> = racers.collect();
    for step in &steps {
        let load = Load::Around {
            sockets: Sockets::Http1(*step),
            sizes: &[20],
        };
        let mut figures = vec![(Vec::new(), Vec::new()); racers.len()];
        for _ in 0..options.rounds {
            for ((contender, command, _), (cpu, memory)) in racers.iter().zip(&mut figures) {
                match runner.once(command, contender.raw, load) {
                    Ok(outcome) => {
                        cpu.push(outcome.cpu);
                        memory.push(outcome.memory / 1000.0);
                    }
                    Err(error) => eprintln!("{step}: {} failed: {error}", contender.name),
                }
            }
        }
        for ((contender, _, line), (cpu, memory)) in racers.iter_mut().zip(figures) {
            if let (Some(cpu), Some(memory)) = (median(cpu), median(memory)) {
                eprintln!("{step}: {} {cpu:.3} µs, {memory:.3} KB", contender.name);
                line.points.push((*step, cpu, memory));
            }
        }
    }
    let lines: Vec<Line> = racers.into_iter().map(|(_, _, line)| line).collect();
    fs::write(file, svg(&lines))?;
    Ok(table(&lines, &steps))
}

fn table(lines: &[Line], steps: &[usize]) -> String {
    let mut table = "| connections |".to_owned();
    for line in lines {
        table += &format!(" {} |", line.name);
    }
    table += &format!("\n|---|{}\n", "---|".repeat(lines.len()));
    for step in steps {
        table += &format!("| {step} |");
        for line in lines {
            table += &match line
                .points
                .iter()
                .find(|(connections, ..)| connections == step)
            {
                Some((_, cpu, memory)) => {
                    format!(" {} µs, {} KB |", rounded(*cpu), rounded(*memory))
                }
                None => " failed |".to_owned(),
            };
        }
        table.push('\n');
    }
    table
}

const COLOURS: [&str; 8] = [
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#7f7f7f", "#000000",
];
const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 260.0;

/// Two charts beside each other and the names below.
fn svg(lines: &[Line]) -> String {
    let mut svg = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 900 420\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"900\" height=\"420\" fill=\"#fff\"/>\n",
    );
    svg += &chart(lines, 60.0, "µs of CPU per message", |(_, cpu, _)| *cpu);
    svg += &chart(
        lines,
        510.0,
        "KB of memory per connection",
        |(.., memory)| *memory,
    );
    for (index, line) in lines.iter().enumerate() {
        let (x, y) = (60 + index % 6 * 140, 380 + index / 6 * 20);
        svg += &format!(
            "<path d=\"M{x} {}h14\" {}/><text x=\"{}\" y=\"{y}\">{}</text>\n",
            y - 4,
            stroke(index),
            x + 20,
            line.name,
        );
    }
    svg + "</svg>\n"
}

/// One chart, both of whose axes are logarithmic.
fn chart(
    lines: &[Line],
    left: f64,
    title: &str,
    value: impl Fn(&(usize, f64, f64)) -> f64,
) -> String {
    let top = 40.0;
    let values = || lines.iter().flat_map(|line| &line.points).map(&value);
    let low = values().fold(f64::MAX, f64::min).max(0.01).log10().floor();
    let high = values().fold(0.1, f64::max).log10().ceil().max(low + 1.0);
    let x = |connections: f64| left + WIDTH * (connections.log10() - 2.0) / 3.0;
    let y = |value: f64| top + HEIGHT * (high - value.max(0.01).log10()) / (high - low);
    let mut svg = format!("<text x=\"{left}\" y=\"20\" font-weight=\"bold\">{title}</text>\n");
    for connections in [100, 1_000, 10_000, 100_000] {
        let at = x(f64::from(connections));
        svg += &format!(
            "<path d=\"M{at:.1} {top}v{HEIGHT}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{connections}</text>\n",
            top + HEIGHT + 18.0,
        );
    }
    for decade in low as i32..=high as i32 {
        let (at, label) = (y(10_f64.powi(decade)), 10_f64.powi(decade));
        svg += &format!(
            "<path d=\"M{left} {at:.1}h{WIDTH}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>\n",
            left - 6.0,
            at + 4.0,
        );
    }
    for (index, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.points.is_empty())
    {
        let points = line
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0 as f64), y(value(point))));
        let points: Vec<String> = points.collect();
        svg += &format!(
            "<polyline points=\"{}\" {}/>\n",
            points.join(" "),
            stroke(index)
        );
    }
    svg
}

/// How the lines are told apart.
fn stroke(index: usize) -> String {
    let colour = COLOURS[index % COLOURS.len()];
    let dashes = if index < COLOURS.len() { "none" } else { "5 3" };
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\"")
}
