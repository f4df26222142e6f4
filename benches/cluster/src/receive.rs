//! What receiving costs before members, beside the crate alone.

use std::{
    sync::{Arc, atomic::Ordering, mpsc},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};
use tower_websocket::{Config, testing};

use crate::{
    Outcome,
    bare::Subscriber,
    cpu,
    engine::Engine,
    node::Node,
    options::Options,
    report::{Goal, Report},
    source::{From, Prepared, Source},
};

pub(crate) fn run(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    let node = Node::start(engine)?;
    let id = node.cluster.id().as_u64();
    // It takes nothing, so that each delivery ends in front of it.
    let config = Config::default().max_send_messages(1).write_timeout(None).ping_interval(None);
    let (_client, server) = node.runtime.block_on(async { testing::pair(config) });
    let member = node.runtime.block_on(async {
        let member = node.groups.join("ours".to_owned(), &server.sender())?;
        member.subscribed().await;
        Outcome::Ok(member)
    })?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let theirs = [engine.kind.spell("bare")];
    let (_subscriber, count) = runtime.block_on(Subscriber::counting(engine, &theirs))?;
    let ours = [engine.kind.spell("ours")];
    let messages = options.many(30_000);
    let mut source = Source::connect(engine)?;
    let orders = Source::connect(engine)?.in_thread();
    let rows = [
        ("CPU per received envelope, before members", From::Other, 0.5),
        ("… an own echo", From::Node(id), 0.1),
        ("… a double", From::Again, 0.1),
    ];
    for (what, from, goal) in rows {
        let (mut bare, mut us) = (Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let at_theirs = Arc::new(source.prepare(&theirs, messages, From::Other, 64));
            let at_ours = Arc::new(source.prepare(&ours, messages, from, 64));
            let target = count.load(Ordering::Relaxed) + messages as u64;
            let them = receive(&runtime, &orders, at_theirs, || {
                count.load(Ordering::Relaxed) >= target
            })?;
            let received = node.cluster.counters().received + messages as u64;
            let own = receive(&node.runtime, &orders, at_ours, || {
                let counters = node.cluster.counters();
                counters.received >= received && counters.inbound_bytes == 0
            })?;
            let each = 1e6 / messages as f64;
            if round > 0 {
                bare.push(them.0.as_secs_f64() * each);
                us.push(own.0.as_secs_f64() * each);
            }
            if cfg!(feature = "allocations") && round == 1 {
                let beyond = own.1 as f64 - them.1 as f64;
                report.row(
                    &format!("allocations: {what}"),
                    engine.kind.name(),
                    "",
                    [&[them.1 as f64 / messages as f64], &[own.1 as f64 / messages as f64]],
                    Goal::Plus(1.0),
                );
                eprintln!("{beyond} allocations beyond those of the crate");
            }
        }
        report.row(what, engine.kind.name(), "µs", [&bare, &us], Goal::Plus(goal));
    }
    let counters = node.cluster.counters();
    if counters.overrun > 0 || counters.doubles == 0 || counters.own_echoes == 0 {
        return Err(format!("something else was measured: {counters:?}").into());
    }
    drop(member);
    Ok(())
}

/// Has it published, and returns what receiving it costs this thread, and the allocations of the process.
fn receive(
    runtime: &Runtime,
    orders: &mpsc::Sender<Arc<Prepared>>,
    prepared: Arc<Prepared>,
    is_done: impl Fn() -> bool,
) -> Outcome<(Duration, u64)> {
    let (begun, allocations) = (cpu::of_thread(), allocations());
    runtime.block_on(async {
        orders.send(prepared).map_err(|_| "the source is gone")?;
        let late = Instant::now() + Duration::from_secs(30);
        while !is_done() {
            if Instant::now() > late {
                return Err("not all was received");
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    })?;
    Ok((cpu::of_thread() - begun, self::allocations() - allocations))
}

#[cfg(feature = "allocations")]
fn allocations() -> u64 {
    let stats = stats_alloc::INSTRUMENTED_SYSTEM.stats();
    (stats.allocations + stats.reallocations) as u64
}

#[cfg(not(feature = "allocations"))]
fn allocations() -> u64 {
    0
}
