//! 100,000 topics after the engine was killed and started again.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, sleep};
use tower_websocket::{Config, testing};

use crate::{
    Outcome,
    engine::{Engine, EngineKind},
    latency::{Watch, stamped},
    node::Node,
    options::Options,
    report::{Goal, Report, quantile},
};

pub(crate) fn run(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    let topics = options.many(match engine.kind {
        EngineKind::Redis => 100_000,
        EngineKind::Nats => 20_000,
    });
    let node = Node::start(engine)?;
    let port = node.port;
    let (_client, server) = node
        .runtime
        .block_on(async { testing::pair(Config::default().ping_interval(None)) });
    let watching = thread::spawn(move || Watch::start(port, "local"));
    let mut members = Vec::new();
    let watch = node.runtime.block_on(async {
        for topic in 0..topics {
            members.push(
                node.groups
                    .join(format!("room-{topic}"), &server.sender())?,
            );
        }
        while !watching.is_finished() || !is_whole(&node, topics) {
            sleep(Duration::from_millis(10)).await;
        }
        Outcome::Ok(())
    });
    watch?;
    let watch = watching.join().map_err(|_| "a panic")??;
    let (mut whole, mut before, mut meanwhile) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.rounds.min(3) {
        node.runtime.block_on(async {
            sleep(Duration::from_millis(500)).await;
            watch.take();
            local(&node, Instant::now() + Duration::from_secs(2), || false).await?;
            before.push(quantile(&watch.take(), 0.99));
            Outcome::Ok(())
        })?;
        let reconnects = node.cluster.counters().reconnects;
        let restarted = thread::scope(|scope| {
            let restarting = scope.spawn(|| {
                engine.kill()?;
                engine.restart()?;
                Outcome::Ok(Instant::now())
            });
            node.runtime.block_on(async {
                let limit = Instant::now() + Duration::from_secs(60);
                let is_back = || node.cluster.counters().reconnects > reconnects;
                local(&node, limit, || is_back() && is_whole(&node, topics)).await
            })?;
            restarting.join().map_err(|_| "a panic")?
        })?;
        whole.push(restarted.elapsed().as_secs_f64());
        node.runtime
            .block_on(async { sleep(Duration::from_millis(50)).await });
        meanwhile.push(quantile(&watch.take(), 0.99));
        if !is_whole(&node, topics) {
            return Err(format!("not whole: {:?}", node.cluster.counters()).into());
        }
    }
    let name = engine.kind.name();
    report.row(
        &format!("{topics} topics: whole again after a restart of the engine"),
        name,
        "s",
        [&[], &whole],
        Goal::AtMost(5.0),
    );
    report.row(
        "… p99 of local broadcasts meanwhile, beside before",
        name,
        "µs",
        [&before, &meanwhile],
        Goal::None,
    );
    Ok(())
}

fn is_whole(node: &Node, topics: usize) -> bool {
    let counters = node.cluster.counters();
    counters.connected && counters.topics_subscribed >= topics as u64
}

/// Broadcasts here every millisecond.
async fn local(node: &Node, until: Instant, is_over: impl Fn() -> bool) -> Outcome {
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while Instant::now() < until && !is_over() {
        // Stamped with when it was due: whoever is late to send waits, too.
        let due = ticks.tick().await;
        if node
            .plain
            .broadcast("local", stamped(due.elapsed()))
            .await
            .sent
            == 0
        {
            return Err("nobody is in the room".into());
        }
    }
    Ok(())
}
