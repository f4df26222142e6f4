//! Beside others who do the same: two server processes each, and one Redis.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    clients::{Clients, Protocol},
    cpu,
    engine::Engine,
    options::Options,
    report::{Goal, Report, median},
};

/// Who takes part: its name, its script if it is one of Node.js, and what ours is to be beside it.
const PEERS: [(&str, Option<&str>, f64); 5] = [
    ("ours", None, 1.0),
    ("socketioxide", None, 0.5),
    ("socket.io", Some("classic"), 0.15),
    ("socket.io-sharded", Some("sharded"), 0.15),
    ("socket.io-streams", Some("streams"), 0.15),
];

/// What is sent: what it is called, rooms, members of each on the other node, messages a second, and how many at a
/// time to a room.
const LOADS: [Load; 3] = [
    ("10 rooms of 100, one at a time", 10, 100, 100, 1),
    ("10 rooms of 100, 16 at a time", 10, 100, 320, 16),
    ("1,000 rooms of one, one at a time", 1000, 1, 2000, 1),
];

type Load = (&'static str, usize, usize, usize, usize);

pub(crate) fn run(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    for load in &LOADS {
        let mut pairs = pairs(engine, options, load)?;
        costs(engine, options, report, load, &mut pairs)?;
        if load.4 > 1 {
            killed(engine, report, load, &mut pairs)?;
        }
    }
    Ok(())
}

/// What the other node's process spends on each delivery, and Redis on each message.
fn costs(
    engine: &Engine,
    options: &Options,
    report: &mut Report,
    (what, rooms, members, rate, burst): &Load,
    pairs: &mut [Pair],
) -> Outcome {
    let count = options.many(*rate * 3 / 2).max(*rooms) / burst * burst;
    let count = count.max(*burst);
    let mut costs = vec![[const { Vec::new() }; 3]; pairs.len()];
    for round in 0..=options.rounds {
        for (pair, costs) in pairs.iter_mut().zip(&mut costs) {
            let before = pair.clients.count();
            let begun = [
                cpu::of_process(pair.there.pid())?,
                cpu::of_process(pair.here.pid())?,
                cpu::of_process(engine.pid())?,
            ];
            pair.here.go(*rooms, count, *rate, *burst)?;
            let target = before + (count * members) as u64;
            pair.wait(target, Duration::from_secs(15));
            if pair.clients.count() != target {
                let came = pair.clients.count() - before;
                return Err(format!("{}: {came} of {} came", pair.name, target - before).into());
            }
            let ended = [
                cpu::of_process(pair.there.pid())?,
                cpu::of_process(pair.here.pid())?,
                cpu::of_process(engine.pid())?,
            ];
            let units = [count * members, count, count];
            for ((cost, unit), (begun, ended)) in costs
                .iter_mut()
                .zip(units)
                .zip(begun.into_iter().zip(ended))
            {
                if round > 0 {
                    cost.push((ended - begun).as_secs_f64() * 1e6 / unit as f64);
                }
            }
        }
    }
    let names = pairs.iter().map(|pair| pair.name).collect::<Vec<_>>();
    for (at, name) in names.iter().enumerate().skip(1) {
        let goal = PEERS
            .iter()
            .find(|peer| peer.0 == *name)
            .map_or(1.0, |peer| peer.2);
        report.row(
            &format!(
                "{what}, {rate} messages/s: CPU of the other node per delivery, beside {name}"
            ),
            "Redis",
            "µs",
            [&costs[at][0], &costs[0][0]],
            Goal::Times(goal),
        );
    }
    report.prose += &format!(
        "\n{what}, {rate} messages/s, per message: CPU of the node that publishes, and of Redis. "
    );
    for (name, costs) in names.iter().zip(&costs) {
        report.prose += &format!(
            "{name} {:.1} and {:.1} µs; ",
            median(&costs[1]),
            median(&costs[2])
        );
    }
    report.prose += "\n";
    Ok(())
}

/// What still works after Redis was killed and started again.
fn killed(
    engine: &mut Engine,
    report: &mut Report,
    (what, rooms, members, rate, burst): &Load,
    pairs: &mut [Pair],
) -> Outcome {
    engine.kill()?;
    thread::sleep(Duration::from_secs(2));
    engine.restart()?;
    thread::sleep(Duration::from_secs(8));
    report.prose += &format!(
        "\n`kill -9` of Redis, started again after 2 s; 8 s later, {what}: of {} deliveries came: ",
        rate * members
    );
    for pair in pairs {
        let before = pair.clients.count();
        // One that has ended takes no orders.
        let went = pair.here.go(*rooms, *rate, *rate, *burst);
        pair.wait(before + (rate * members) as u64, Duration::from_secs(5));
        let came = pair.clients.count() - before;
        let ended = match (pair.here.has_ended() || pair.there.has_ended(), went) {
            (true, _) => " (a server has ended)",
            (false, Err(_)) => " (it does not answer)",
            (false, Ok(())) => "",
        };
        let lost = pair.clients.ended();
        report.prose += &format!("{} {came}{ended}", pair.name);
        report.prose += &match lost {
            0 => "; ".to_owned(),
            lost => format!(", {lost} clients were cut off; "),
        };
    }
    report.prose += "\n";
    Ok(())
}

/// Two servers of a kind: one publishes, the other has the clients.
struct Pair {
    name: &'static str,
    here: Server,
    there: Server,
    clients: Clients,
}

impl Pair {
    fn wait(&self, target: u64, limit: Duration) {
        let begun = Instant::now();
        while self.clients.count() < target && begun.elapsed() < limit {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn pairs(engine: &Engine, options: &Options, (_, rooms, members, ..): &Load) -> Outcome<Vec<Pair>> {
    let mut pairs = Vec::new();
    for (name, script, _) in PEERS {
        let asked = options.peers.is_empty() || options.peers.iter().any(|peer| peer == name);
        if name != "ours" && !asked {
            continue;
        }
        let Some(here) = Server::start(name, script, engine)? else {
            eprintln!("NOT RUN: {name} (npm install in benches/cluster/js)");
            continue;
        };
        let there = Server::start(name, script, engine)?.ok_or("it was there")?;
        let protocol = if name == "ours" {
            Protocol::Plain
        } else {
            Protocol::SocketIo
        };
        let all = (0..rooms * members).map(|member| format!("r{}", member % rooms));
        let clients = Clients::start(protocol, there.port, all.collect());
        let mut pair = Pair {
            name,
            here,
            there,
            clients,
        };
        // Until all are there.
        let begun = Instant::now();
        loop {
            let before = pair.clients.count();
            pair.here.go(*rooms, *rooms, 1000, 1)?;
            thread::sleep(Duration::from_millis(300));
            if pair.clients.count() - before == (rooms * members) as u64 {
                break;
            }
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(format!("{name}: not all clients get all").into());
            }
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

/// A server process.
struct Server {
    child: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Server {
    fn start(name: &str, script: Option<&str>, engine: &Engine) -> Outcome<Option<Self>> {
        let mut command = match script {
            Some(adapter) => {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
                if !folder.join("node_modules/socket.io").exists() {
                    return Ok(None);
                }
                let mut command = Command::new("node");
                command
                    .arg(folder.join("server.mjs"))
                    .args([adapter, &engine.url()]);
                command
            }
            None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["serve", name, &engine.url()]);
                command
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("it has a stdin")?;
        let out = child.stdout.take().ok_or("it has a stdout")?;
        let mut said = BufReader::new(out).lines();
        let line = said.next().ok_or("it said nothing")??;
        let port = line
            .strip_prefix("port ")
            .ok_or("it named no port")?
            .parse()?;
        Ok(Some(Self {
            child,
            orders,
            said,
            port,
        }))
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it publish, and waits until it has.
    fn go(&mut self, rooms: usize, count: usize, rate: usize, burst: usize) -> Outcome {
        writeln!(self.orders, "go {rooms} {count} {rate} {burst}")?;
        let said = self.said.next().transpose()?;
        match said.as_deref() {
            Some("done") => Ok(()),
            _ => Err(format!("it said {said:?}").into()),
        }
    }

    fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
