//! The table.

use std::fs;
use std::time::SystemTime;

use crate::contender::{Contender, output};
use crate::kernel::Kernel;
use crate::options::Options;
use crate::run::Row;

/// What stands above the table: where, when, and what was measured.
pub(crate) fn head(
    contenders: &[Contender],
    options: &Options,
    pinned: bool,
    kernel: Kernel,
) -> String {
    let mut versions: Vec<&str> = Vec::new();
    for contender in contenders {
        if !versions.contains(&contender.version.as_str()) {
            versions.push(&contender.version);
        }
    }
    let rustc = output("rustc", "--version").unwrap_or_else(|| "rustc unknown".to_owned());
    let place = if pinned {
        "server on core 0, clients on core 1"
    } else {
        "not pinned"
    };
    let mut head = format!(
        "{}; {}; {rustc}; {place}; {} rounds of {:?}",
        date(),
        machine(),
        options.rounds,
        options.duration,
    );
    let differences = options.differences();
    if !differences.is_empty() {
        head += &format!("; {differences}");
    }
    head += &format!(
        ". The kernel: {} µs for a `send` that wakes the peer, {} µs for a `recv`",
        rounded(kernel.send),
        rounded(kernel.recv),
    );
    format!("{head}.\n\n{}.\n", versions.join(", "))
}

/// Ratios to each row's base: the median over the rounds, and the least and the most.
pub(crate) fn table(rows: &[Row], contenders: &[Contender]) -> String {
    let took_part = |name: &str| {
        rows.iter()
            .any(|row| row.figures.iter().any(|(other, _)| other == name))
    };
    let columns: Vec<&str> = contenders
        .iter()
        .map(|one| one.name.as_str())
        .filter(|name| took_part(name))
        .collect();
    let mut table = format!("| | | base | {} |\n", columns.join(" | "));
    table += &format!("|---|---|---|{}\n", "---|".repeat(columns.len()));
    for row in rows {
        let base = figures(row, row.scenario.base);
        let (name, about) = (row.scenario.name, row.scenario.about);
        let unit = row.scenario.measure.unit();
        let absolute = match median(base.iter().flatten().copied().collect()) {
            Some(figure) => format!("{} {} {unit}", row.scenario.base, rounded(figure)),
            None => "–".to_owned(),
        };
        table += &format!("| {name} | {about} | {absolute} |");
        for column in &columns {
            table += &format!(" {} |", cell(figures(row, column), base, unit));
        }
        table.push('\n');
    }
    table
}

fn figures<'a>(row: &'a Row, name: &str) -> &'a [Option<f64>] {
    let found = row.figures.iter().find(|(other, _)| other == name);
    found.map_or(&[], |(_, figures)| figures)
}

/// A ratio where there is a base, else the figure itself.
fn cell(figures: &[Option<f64>], base: &[Option<f64>], unit: &str) -> String {
    if figures.is_empty() {
        return "–".to_owned();
    }
    let pairs = figures.iter().zip(base);
    let mut ratios: Vec<f64> = pairs
        .filter_map(|(figure, base)| Some((*figure)? / (*base)?))
        .collect();
    ratios.retain(|ratio| ratio.is_finite());
    ratios.sort_by(f64::total_cmp);
    let absolute = median(figures.iter().flatten().copied().collect());
    match (ratios.as_slice(), absolute) {
        ([only], _) => format!("{only:.2}"),
        ([least, .., most], _) => {
            let middle = median(ratios.clone()).unwrap_or(*least);
            format!("**{}** ({}–{})", ratio(middle), ratio(*least), ratio(*most))
        }
        ([], Some(figure)) => format!("{} {unit}", rounded(figure)),
        ([], None) => "failed".to_owned(),
    }
}

fn ratio(ratio: f64) -> String {
    if ratio < 0.1 {
        format!("{ratio:.3}")
    } else {
        format!("{ratio:.2}")
    }
}

pub(crate) fn rounded(figure: f64) -> String {
    match figure {
        ..1.0 => format!("{figure:.3}"),
        ..10.0 => format!("{figure:.2}"),
        ..100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// The middle one; between the two middle ones where the count is even.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
    Some((figures[low] + figures[high]) / 2.0)
}

/// The processor, how many of it, the memory and the kernel.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    let cpus = read("/proc/cpuinfo");
    let processor = field(&cpus, "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|total| total.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes.div_ceil(1 << 20));
    // Not what this process may use, which is one of them.
    let cores = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    format!(
        "{cores} × {}, {memory} GiB, Linux {}",
        processor.unwrap_or_else(|| "unknown processor".to_owned()),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// Today in UTC, as year-month-day.
fn date() -> String {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut days = since.as_secs() / 86_400;
    let mut year = 1970;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for len in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < len {
            break;
        }
        days -= len;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}
