//! What a group takes of a node's memory, and what a subscription takes of the engine's.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use tokio::{runtime::Builder, time::sleep};
use tower_websocket::{Config, Groups, testing};

use crate::{
    Outcome, cpu, engine,
    engine::{Engine, EngineKind},
    options::Options,
    report::{Goal, Report},
};

pub(crate) fn run(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    let groups = options.many(match engine.kind {
        EngineKind::Redis => 100_000,
        EngineKind::Nats => 20_000,
    });
    let (mut without, mut with, mut there) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds.min(3) {
        without.push(grown("none", groups)?);
        let before = cpu::memory(engine.pid())? as f64;
        with.push(grown(&engine.url(), groups)?);
        there.push((cpu::memory(engine.pid())? as f64 - before) / groups as f64);
    }
    let goal = match engine.kind {
        EngineKind::Redis => 300.0,
        EngineKind::Nats => 6000.0,
    };
    let what = format!("memory of each of {groups} groups, beside groups without a cluster");
    let name = engine.kind.name();
    report.row(&what, name, "B", [&without, &with], Goal::Plus(goal));
    // What the first one took is kept for the next.
    report.row(
        "… of the engine's own",
        name,
        "B",
        [&[], &there[..1]],
        Goal::None,
    );
    Ok(())
}

fn grown(what: &str, groups: usize) -> Outcome<f64> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["memory", what, &groups.to_string()]);
    let output = child.stderr(Stdio::inherit()).output()?;
    let bytes: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(bytes / groups as f64)
}

/// Joins so many groups, with a cluster or without, and prints by how much memory has grown.
pub(crate) fn child(what: &str, groups: usize) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let cluster = match what {
            "none" => None,
            url => Some(engine::node(url)?),
        };
        let mut rooms = Groups::<String>::builder();
        if let Some(cluster) = &cluster {
            cluster.connected().await;
            sleep(Duration::from_millis(500)).await;
            rooms = rooms.cluster(cluster, engine::ROOMS);
        }
        let rooms: Groups = rooms.build();
        let (_client, server) = testing::pair(Config::default().ping_interval(None));
        let mut members = Vec::with_capacity(groups);
        let before = cpu::memory(std::process::id())?;
        for group in 0..groups {
            members.push(rooms.join(format!("room-{group:07}"), &server.sender())?);
            if group % 1000 == 0 {
                // As they come in a server: not all at once.
                sleep(Duration::from_millis(1)).await;
            }
        }
        if let Some(cluster) = &cluster {
            while cluster.counters().topics_subscribed < groups as u64 {
                sleep(Duration::from_millis(10)).await;
            }
        }
        sleep(Duration::from_millis(100)).await;
        println!("{}", cpu::memory(std::process::id())? - before);
        Outcome::Ok(())
    })
}
