//! What a broadcast costs while the engine is not there, beside one without a cluster.

use std::{thread, time::Duration};

use tower_websocket::cluster::Remote;

use crate::{
    Outcome,
    engine::Engine,
    node::{Node, payload},
    options::Options,
    report::{Goal, Report},
};

pub(crate) fn run(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    let members: &[usize] = if options.scale < 1.0 {
        &[1]
    } else {
        &[1, 10, 100]
    };
    for &members in members {
        let node = Node::start(engine)?;
        let clients = node.clients(vec!["all".to_owned(); members])?;
        engine.kill()?;
        // So that it is noticed.
        node.runtime
            .block_on(async { tokio::time::sleep(Duration::from_millis(50)).await });
        let stages = [Remote::Waiting, Remote::Full, Remote::Down];
        for stage in stages {
            node.runtime.block_on(async {
                match stage {
                    Remote::Full => {
                        while node.groups.broadcast("nobody", payload()).await.remote != stage {}
                    }
                    Remote::Down => {
                        while node.groups.broadcast("nobody", payload()).await.remote != stage {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                    }
                    _ => {}
                }
            });
            let (mut without, mut with) = (Vec::new(), Vec::new());
            let bursts = options.many(if stage == Remote::Waiting { 60 } else { 100 });
            for round in 0..=options.rounds {
                let mut costs = [0.0; 2];
                for (cost, groups) in costs.iter_mut().zip([&node.plain, &node.groups]) {
                    let before = clients.count();
                    let (remote, time) = node.measure(async {
                        let mut remote = Remote::Local;
                        for burst in 1..=bursts {
                            for _ in 0..8 {
                                remote = groups.broadcast("all", payload()).await.remote;
                            }
                            let target = before + (burst * 8 * members) as u64;
                            if !clients.until(target).await {
                                return Err("not all members got all");
                            }
                        }
                        Ok(remote)
                    });
                    let remote = remote?;
                    if remote != stage && remote != Remote::Local {
                        return Err(format!("{remote:?} and not {stage:?}").into());
                    }
                    *cost = time.as_secs_f64() * 1e6 / (bursts * 8) as f64;
                }
                if round > 0 {
                    without.push(costs[0]);
                    with.push(costs[1]);
                }
            }
            let what =
                format!("`broadcast` to {members} members here, the engine away: `{stage:?}`");
            let name = engine.kind.name();
            report.row(&what, name, "µs", [&without, &with], Goal::Times(1.1));
        }
        engine.restart()?;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
