//! What came out of a scenario: a line of the table, and what is wrong with it.

use std::{fmt, time::Duration};

use serde_json::Value;

use super::{
    load::{Pair, Phase, Sums},
    scenario::Scenario,
    stage::Stage,
};

pub(crate) struct Row {
    name: &'static str,
    sums: Sums,
    announced: u64,
    local: (Duration, Duration),
    whole: Result<Duration, String>,
    /// What the servers had in memory at most, beyond what they had before the first client.
    memory: u64,
    pub(crate) took: Duration,
    pub(crate) wrong: Vec<String>,
}

impl Row {
    pub(crate) const HEAD: &str = "| scenario | sent | delivered | lost | announced | tail | doubled | out of order | local: lost | p99, longest ms | whole after s | memory MiB | took s |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|";

    /// Judges what has been: `before` and `after` a time of calm at the end.
    pub(crate) fn new(
        scenario: &Scenario,
        stage: &Stage,
        before: &Sums,
        after: Sums,
        said: &[Value; 2],
    ) -> Self {
        let mut wrong = impossible(scenario, before, &after);
        let (calm, fault) = (
            stage.load.local_delays(Phase::Calm),
            stage.load.local_delays(Phase::Fault),
        );
        if fault.0 > scenario.local.max(3 * calm.0) {
            wrong.push(format!(
                "p99 of local members {:?}, before it {:?}",
                fault.0, calm.0
            ));
        }
        wrong.extend(not_announced(&after, said).take(MOST));
        for (number, said) in said.iter().enumerate() {
            let cluster = &said["cluster"];
            wrong.extend(unsound(cluster).map(|what| format!("node {number}: {what}: {cluster}")));
        }
        let memory = said.iter().zip(&stage.at_rest).map(|(said, at_rest)| {
            let bytes = |value: &Value| value.as_u64().unwrap_or_default();
            bytes(&said["peak"]).saturating_sub(bytes(&at_rest["rss"]))
        });
        let memory = memory.max().unwrap_or_default();
        if memory > scenario.memory {
            wrong.push(format!("{memory} bytes of memory"));
        }
        Self {
            name: scenario.name,
            announced: after.remote.iter().map(|it| announced(it, said)).sum(),
            local: fault,
            whole: stage.load.whole(),
            memory,
            sums: after,
            took: Duration::ZERO,
            wrong,
        }
    }
}

/// What must not be, whatever is broken.
fn impossible(scenario: &Scenario, before: &Sums, after: &Sums) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut never = |what: &str, count: u64| {
        if count > 0 {
            wrong.push(format!("{count} {what}"));
        }
    };
    never("doubled", after.doubled);
    never("out of order", after.late);
    never("lost by local members", after.local_lost);
    never(
        "members with other losses than their neighbours",
        after.uneven,
    );
    if !scenario.may_lose {
        never("lost", after.remote.iter().map(|pair| pair.lost).sum());
    }
    let in_peace = after
        .remote
        .iter()
        .zip(&before.remote)
        .map(|(after, before)| after.lost.saturating_sub(before.lost) + after.tail);
    never("lost when all was whole again", in_peace.sum());
    wrong
}

/// What was lost, and the receiving node was not told.
fn not_announced(sums: &Sums, said: &[Value; 2]) -> impl Iterator<Item = String> {
    sums.remote.iter().filter_map(|pair| {
        let (receiver, group) = (pair.receiver, pair.group);
        let (lost, announced) = (pair.lost, announced(pair, said));
        (lost > announced)
            .then(|| format!("node {receiver}, group {group}: {lost} lost, {announced} announced"))
    })
}

/// What the receiving node told its application of such losses.
fn announced(pair: &Pair, said: &[Value; 2]) -> u64 {
    let told = &said[pair.receiver]["cluster"]["announced"][pair.group.to_string()];
    told.as_u64().unwrap_or_default()
}

/// What is wrong with the counters of a node for which nothing is underway.
fn unsound(cluster: &Value) -> Option<&'static str> {
    let of = |name: &str| cluster[name].as_u64().unwrap_or_default();
    let checks = [
        (
            of("queued") + of("in_flight") + of("inbound") > 0,
            "something still waits",
        ),
        (
            of("published") != of("confirmed") + of("expired") + of("rejected"),
            "what was published is not what was confirmed, expired or rejected",
        ),
        (
            of("most_queued") > MAX_QUEUE,
            "more waited for the engine than may",
        ),
        (
            of("most_inbound") > MAX_INBOUND,
            "more waited for delivery than may",
        ),
        (
            of("topics_subscribed") < of("topics_wanted"),
            "not all is subscribed",
        ),
    ];
    checks
        .into_iter()
        .find_map(|(is_wrong, what)| is_wrong.then_some(what))
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |of: fn(&Pair) -> u64| self.sums.remote.iter().map(of).sum::<u64>();
        let (delivered, lost, tail) =
            (sum(|it| it.delivered), sum(|it| it.lost), sum(|it| it.tail));
        write!(
            f,
            "| {} | {} | {delivered} | {lost} | {} | {tail} |",
            self.name, self.sums.sent, self.announced
        )?;
        let Sums {
            doubled,
            late,
            local_lost,
            ..
        } = self.sums;
        write!(f, " {doubled} | {late} | {local_lost} |")?;
        write!(
            f,
            " {:.1}, {:.1} |",
            millis(self.local.0),
            millis(self.local.1)
        )?;
        match &self.whole {
            Ok(whole) => write!(f, " {:.2} |", whole.as_secs_f64())?,
            Err(_) => write!(f, " never |")?,
        }
        write!(
            f,
            " {} | {:.1} |",
            self.memory >> 20,
            self.took.as_secs_f64()
        )
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The defaults of the library: of what waits for the engine and its answer, and of what waits for delivery.
const MAX_QUEUE: u64 = 8 << 20;
const MAX_INBOUND: u64 = 16 << 20;

/// How many faults of a kind are said.
const MOST: usize = 12;
