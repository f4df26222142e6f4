//! What receiving costs before members, beside the crate alone.

use std::{
    sync::{Arc, atomic::Ordering, mpsc},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};
use tower_websocket::{Config, Groups, groups::SlowMember, testing};

use crate::{
    Outcome,
    bare::Subscriber,
    cpu,
    engine::Engine,
    node::{Node, payload},
    options::Options,
    report::{Goal, Report},
    source::{From, Prepared, Source},
};

pub(crate) fn run(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    let node = Node::start(engine)?;
    let id = node.cluster.id().as_u64();
    // It takes nothing, so that each delivery ends in front of it.
    let config = Config::default()
        .max_send_messages(1)
        .write_timeout(None)
        .ping_interval(None);
    let (_client, server) = node.runtime.block_on(async { testing::pair(config) });
    let member = node.runtime.block_on(async {
        let member = node.groups.join("ours".to_owned(), &server.sender())?;
        member.subscribed().await;
        Outcome::Ok(member)
    })?;
    let plain = Groups::<String>::builder()
        .slow_members(|_| SlowMember::DropNewest)
        .build();
    let _plain = plain.join("ours".to_owned(), &server.sender())?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let theirs = [engine.kind.spell("bare")];
    let (_subscriber, count) = runtime.block_on(Subscriber::counting(engine, &theirs))?;
    let ours = [engine.kind.spell("ours")];
    let messages = options.many(30_000).max(CHUNK);
    let mut source = Source::connect(engine)?;
    let orders = Source::connect(engine)?.in_thread();
    let rows = [
        (
            "CPU per received envelope, without the local broadcast in it",
            From::Other,
            0.5,
        ),
        ("… an own echo", From::Node(id), 0.1),
        ("… a double", From::Again, 0.1),
    ];
    for (what, from, goal) in rows {
        let (mut bare, mut us, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let (mut them, mut own) = ((Duration::ZERO, 0), (Duration::ZERO, 0));
            // No more at a time than the subscription of a client of NATS holds.
            for _ in 0..messages / CHUNK {
                let at_theirs = Arc::new(source.prepare(&theirs, CHUNK, From::Other, 64));
                let at_ours = Arc::new(source.prepare(&ours, CHUNK, from, 64));
                let target = count.load(Ordering::Relaxed) + CHUNK as u64;
                let (time, allocations) = receive(&runtime, &orders, at_theirs, || {
                    count.load(Ordering::Relaxed) >= target
                })?;
                them = (them.0 + time, them.1 + allocations);
                let received = node.cluster.counters().received + CHUNK as u64;
                let (time, allocations) = receive(&node.runtime, &orders, at_ours, || {
                    let counters = node.cluster.counters();
                    counters.received >= received && counters.inbound_bytes == 0
                })?;
                own = (own.0 + time, own.1 + allocations);
            }
            let messages = messages / CHUNK * CHUNK;
            let each = 1e6 / messages as f64;
            let mut local = (Duration::ZERO, 0);
            if matches!(from, From::Other) {
                local = broadcast(&node, &plain, messages);
            }
            if round > 0 {
                bare.push(them.0.as_secs_f64() * each);
                us.push(own.0.saturating_sub(local.0).as_secs_f64() * each);
                whole.push(own.0.as_secs_f64() * each);
            }
            if cfg!(feature = "allocations") && round == 1 {
                own.1 = own.1.saturating_sub(local.1);
                report.row(
                    &format!("allocations: {what}"),
                    engine.kind.name(),
                    "",
                    [
                        &[them.1 as f64 / messages as f64],
                        &[own.1 as f64 / messages as f64],
                    ],
                    Goal::Plus(1.0),
                );
            }
        }
        report.row(
            what,
            engine.kind.name(),
            "µs",
            [&bare, &us],
            Goal::Plus(goal),
        );
        if matches!(from, From::Other) {
            let what = "… with the broadcast to one member that takes nothing";
            report.row(what, engine.kind.name(), "µs", [&bare, &whole], Goal::None);
        }
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

/// The same broadcasts to the same member, from here.
fn broadcast(node: &Node, plain: &Groups, messages: usize) -> (Duration, u64) {
    let before = allocations();
    let (_, time) = node.measure(async {
        for _ in 0..messages {
            plain.broadcast("ours", payload()).await;
        }
    });
    (time, allocations() - before)
}

/// So many are sent before they are waited for.
const CHUNK: usize = 512;

#[cfg(feature = "allocations")]
fn allocations() -> u64 {
    let stats = stats_alloc::INSTRUMENTED_SYSTEM.stats();
    (stats.allocations + stats.reallocations) as u64
}

#[cfg(not(feature = "allocations"))]
fn allocations() -> u64 {
    0
}
