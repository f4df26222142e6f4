//! Nodes in this process, each in a runtime of its own; and what their members cost.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, routing::any, serve::ListenerExt};
use bytes::Bytes;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    time::sleep,
};
use tower_websocket::{
    Config, Groups, WebSocket, WebSocketLayer, cluster::Cluster, groups::SlowMember, handler,
};

use crate::{
    Outcome,
    clients::{Clients, Protocol},
    cpu, engine,
    engine::Engine,
    options::Options,
    report::{Goal, Report},
    source::{From, PAYLOAD, Source},
};

/// A node with a server, whose clients are in a room of `groups`, and in the same one of `plain`.
pub(crate) struct Node {
    pub(crate) runtime: Runtime,
    pub(crate) cluster: Cluster,
    pub(crate) groups: Groups,
    /// Groups without a cluster.
    pub(crate) plain: Groups,
    pub(crate) port: u16,
}

impl Node {
    /// Starts one. It does something only while its runtime runs.
    pub(crate) fn start(engine: &Engine) -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let url = engine.url();
        let (cluster, groups, plain, port) = runtime.block_on(async {
            let cluster = engine::node(&url)?;
            let groups = Groups::builder().slow_members(|_| SlowMember::DropNewest);
            let groups: Groups = groups.cluster(&cluster, engine::ROOMS).build();
            let plain = Groups::new();
            let port = serve(groups.clone(), plain.clone()).await?;
            cluster.connected().await;
            // What is kept goes out some time after that.
            sleep(Duration::from_millis(400)).await;
            Outcome::Ok((cluster, groups, plain, port))
        })?;
        Ok(Self {
            runtime,
            cluster,
            groups,
            plain,
            port,
        })
    }

    /// Returns what running a future costs the thread.
    pub(crate) fn measure<T>(&self, future: impl Future<Output = T>) -> (T, Duration) {
        let begun = cpu::of_thread();
        let result = self.runtime.block_on(future);
        (result, cpu::of_thread() - begun)
    }

    /// Connects a client for each of the rooms.
    pub(crate) fn clients(&self, rooms: Vec<String>) -> Outcome<Clients> {
        let count = rooms.len();
        let mut all = rooms.clone();
        all.sort();
        all.dedup();
        let clients = Clients::start(Protocol::Plain, self.port, rooms);
        self.runtime.block_on(async {
            let begun = Instant::now();
            let members = || {
                all.iter()
                    .map(|room| self.plain.member_count(room.as_str()))
                    .sum::<usize>()
            };
            while members() < count {
                if begun.elapsed() > Duration::from_secs(30) {
                    return Err(format!("only {} of {count} clients", members()));
                }
                sleep(Duration::from_millis(20)).await;
            }
            sleep(Duration::from_millis(300)).await;
            Ok(())
        })?;
        Ok(clients)
    }
}

/// Serves WebSockets on a free port, which is returned.
pub(crate) async fn serve(groups: Groups, plain: Groups) -> Outcome<u16> {
    let handler = handler(move |socket| member(socket, groups.clone(), plain.clone()));
    // As rarely as the others, so that nobody measures pings.
    let config = Config::default().ping_interval(Duration::from_secs(300));
    let layer = WebSocketLayer::new(handler).config(config);
    let app: Router = Router::new().route("/", any(async || "a page").layer(layer));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    // Without it a write waits up to 40 ms for the client's kernel to say that it has the one before.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(port)
}

async fn member(mut socket: WebSocket, groups: Groups, plain: Groups) -> Outcome {
    let Some(room) = socket.recv().await? else {
        return Ok(());
    };
    let room = room.as_text().unwrap_or("none").to_owned();
    let _member = groups.join(room.clone(), &socket.sender())?;
    let _plain = plain.join(room, &socket.sender())?;
    while socket.recv().await?.is_some() {}
    Ok(())
}

/// What everybody sends.
pub(crate) fn payload() -> Bytes {
    Bytes::from_static(&[b'x'; PAYLOAD])
}

/// 1,000 members here: what comes from another node beside what is broadcast here.
pub(crate) fn members(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    let members = options.many(1000);
    let node = Node::start(engine)?;
    let clients = node.clients(vec!["all".to_owned(); members])?;
    let mut source = Source::connect(engine)?;
    let topics = [engine.kind.spell("all")];
    let bursts = options.many(40);
    for burst in [1, 8] {
        let prepared = (0..=options.rounds * bursts)
            .map(|_| Arc::new(source.prepare(&topics, burst, From::Other, burst)));
        let mut prepared = prepared.collect::<VecDeque<_>>();
        let orders = Source::connect(engine)?.in_thread();
        let (mut local, mut remote) = (Vec::new(), Vec::new());
        let deliveries = (bursts * burst * members) as f64;
        for round in 0..=options.rounds {
            let bursts = if round == 0 { 1 } else { bursts };
            let (all, here) = node.measure(async {
                let mut all = true;
                for _ in 0..bursts {
                    let target = clients.count() + (burst * members) as u64;
                    for _ in 0..burst {
                        node.plain.broadcast("all", payload()).await;
                    }
                    all &= clients.until(target).await;
                }
                all
            });
            let (as_many, there) = node.measure(async {
                let mut all = true;
                for _ in 0..bursts {
                    let target = clients.count() + (burst * members) as u64;
                    let prepared = prepared.pop_front().ok_or("no more is prepared")?;
                    orders.send(prepared).map_err(|_| "the source is gone")?;
                    all &= clients.until(target).await;
                }
                Outcome::Ok(all)
            });
            if !(all && as_many?) {
                return Err("not all members got all".into());
            }
            // The first one warms up.
            if round > 0 {
                local.push(here.as_secs_f64() * 1e6 / deliveries);
                remote.push(there.as_secs_f64() * 1e6 / deliveries);
            }
        }
        let what = format!(
            "CPU per delivery to {members} members, {burst} at a time, beside a local broadcast"
        );
        report.row(
            &what,
            engine.kind.name(),
            "µs",
            [&local, &remote],
            Goal::Times(1.05),
        );
    }
    Ok(())
}

/// 1,000 groups with one member each.
pub(crate) fn ones(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    let groups = options.many(1000);
    let node = Node::start(engine)?;
    let rooms: Vec<String> = (0..groups).map(|room| format!("r{room}")).collect();
    let clients = node.clients(rooms.clone())?;
    let topics: Vec<String> = rooms.iter().map(|room| engine.kind.spell(room)).collect();
    let mut source = Source::connect(engine)?;
    let messages = options.many(40) * groups;
    let (mut local, mut remote) = (Vec::new(), Vec::new());
    let orders = Source::connect(engine)?.in_thread();
    for round in 0..=options.rounds {
        let prepared = Arc::new(source.prepare(&topics, messages, From::Other, 256));
        let target = clients.count() + messages as u64;
        let (all, here) = node.measure(async {
            for at in 0..messages {
                node.plain
                    .broadcast(rooms[at % groups].as_str(), payload())
                    .await;
                if at % 256 == 255 {
                    // As a server does that has other things to do.
                    tokio::task::yield_now().await;
                }
            }
            clients.until(target).await
        });
        let target = clients.count() + messages as u64;
        orders.send(prepared).map_err(|_| "the source is gone")?;
        let (as_many, there) = node.measure(clients.until(target));
        if !(all && as_many) {
            let counters = node.cluster.counters();
            return Err(format!("not all members got all: {counters:?}").into());
        }
        if round > 0 {
            local.push(messages as f64 / here.as_secs_f64());
            remote.push(messages as f64 / there.as_secs_f64());
        }
    }
    report.row(
        &format!(
            "received messages per core, {groups} groups of one member, beside local broadcasts"
        ),
        engine.kind.name(),
        "/s",
        [&local, &remote],
        Goal::AtLeast(150_000.0),
    );
    Ok(())
}
