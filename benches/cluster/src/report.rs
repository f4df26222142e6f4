//! The table.

use std::fmt::Write;

use crate::options::Options;

/// Rows, and what is to be said below them.
pub(crate) struct Report {
    rounds: usize,
    rows: Vec<String>,
    pub(crate) prose: String,
}

/// What is hoped for: how far ours may be from what it is compared to.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// More by at most so much.
    Plus(f64),
    /// At most so many times as much.
    Times(f64),
    /// At most so much, whatever the other has.
    AtMost(f64),
    /// At least so much, whatever the other has.
    AtLeast(f64),
    None,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            rounds: options.rounds,
            rows: Vec::new(),
            prose: String::new(),
        }
    }

    /// Adds a row: ours beside what it is compared to, of each round.
    pub(crate) fn row(
        &mut self,
        what: &str,
        engine: &str,
        unit: &str,
        [base, ours]: [&[f64]; 2],
        goal: Goal,
    ) {
        let pairs = base.iter().zip(ours);
        let (compared, cell): (Vec<f64>, fn(f64) -> String) = match goal {
            Goal::Plus(_) => (pairs.map(|(base, ours)| ours - base).collect(), |value| {
                format!("{value:+.2}")
            }),
            _ if base.is_empty() => (Vec::new(), short),
            _ => (pairs.map(|(base, ours)| ours / base).collect(), |value| {
                format!("× {}", short(value))
            }),
        };
        let (goal_words, met) = match goal {
            Goal::Plus(most) => (format!("+{most}"), median(&compared) <= most),
            Goal::Times(most) => (format!("× {most}"), median(&compared) <= most),
            Goal::AtMost(most) => (format!("≤ {most}"), median(ours) <= most),
            Goal::AtLeast(least) => (format!("≥ {least}"), median(ours) >= least),
            Goal::None => ("–".into(), true),
        };
        let compared = match compared.as_slice() {
            [] => "–".to_owned(),
            values => format!(
                "**{}** ({} – {})",
                cell(median(values)),
                cell(least(values)),
                cell(most(values))
            ),
        };
        let base = match base {
            [] => "–".to_owned(),
            values => short(median(values)),
        };
        let missed = if met { "" } else { ", **missed**" };
        let row = format!(
            "| {what} | {engine} | {base} | {} {unit} | {compared} | {goal_words}{missed} |",
            short(median(ours)),
        );
        eprintln!("{row}");
        self.rows.push(row);
    }

    pub(crate) fn table(&self) -> String {
        let mut table = format!(
            "\n{} rounds by turns; each cell is the median, with the least and the most.\n\n\
             | | engine | beside it | ours | difference or ratio | goal |\n|---|---|---|---|---|---|\n",
            self.rounds
        );
        for row in &self.rows {
            // Memory takes all.
            let _written = writeln!(table, "{row}");
        }
        table
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        0.0..0.1 => format!("{value:.3}"),
        0.1..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the value below which such a part of all is.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() as f64 * part) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}
