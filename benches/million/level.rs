//! What is measured with so many WebSockets open.

use std::{
    cell::Cell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use tokio::time::{sleep, timeout};

use crate::{
    connection::{Connection, Seen},
    options::Options,
    process::{Server, Usage},
    server::Settings,
    wire,
};

/// What one server was measured to need. Times are microseconds, memory is bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    pub(crate) sockets: usize,
    /// The server's CPU for an opening handshake and an echo.
    pub(crate) open: f64,
    /// Resident memory of each, and when all have had broadcasts.
    pub(crate) memory: f64,
    pub(crate) memory_later: f64,
    /// The server's CPU per second and WebSocket while nothing happens.
    pub(crate) idle: f64,
    /// The server's CPU per echo, and the kernel's part of it.
    pub(crate) echo: f64,
    pub(crate) echo_kernel: f64,
    pub(crate) broadcast: Option<Broadcast>,
    pub(crate) drain: Option<Drain>,
    /// The longest poll of any task, and how many took more than 500 µs: while opening, broadcasting,
    /// draining.
    pub(crate) polls: [(u64, u64); 3],
}

impl Level {
    /// Reports whether one was closed as too slow, or did not end by a closing handshake.
    pub(crate) fn has_losses(&self) -> bool {
        let slow = self.broadcast.as_ref().map_or(0, |all| all.closed);
        let broken = self.drain.as_ref().map_or(0, |end| end.aborted + end.reset);
        slow + broken > 0
    }
}

/// A broadcast to all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broadcast {
    /// Until it was queued for all, and until all had it.
    pub(crate) queued: u64,
    pub(crate) received: u64,
    /// The longest poll of the task that called it.
    pub(crate) stretch: u64,
    /// The server's CPU for each.
    pub(crate) each: f64,
    /// By how much memory rose for each.
    pub(crate) peak: f64,
    /// Members that were closed as too slow.
    pub(crate) closed: u64,
}

/// The end of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain {
    pub(crate) time: u64,
    pub(crate) stretch: u64,
    pub(crate) each: f64,
    pub(crate) aborted: u64,
    /// Streams that ended with a reset.
    pub(crate) reset: u64,
    /// How many clients were told which code.
    pub(crate) codes: String,
    /// Resident memory per WebSocket that was.
    pub(crate) left: f64,
}

/// Opens all, measures, drains.
pub(crate) async fn run(options: &Options, sockets: usize, raw: bool) -> io::Result<Level> {
    let settings = Settings {
        raw,
        group: options.group,
        pings: options.pings,
        threads: options.threads,
    };
    let server = Server::start(settings, options.pinned).await?;
    let mut bench = Bench {
        server,
        raw,
        seen: Rc::default(),
        connections: Vec::new(),
        streams: options.streams,
        level: Level {
            sockets,
            ..Level::default()
        },
    };
    let before = bench.baseline().await?;
    bench.open(sockets, before.memory).await?;
    bench.rest(options.seconds).await?;
    bench.echo(options.seconds).await?;
    if !raw && options.group {
        bench.broadcast(options.rounds).await?;
        let grown = bench.server.usage()?.memory.saturating_sub(before.memory);
        bench.level.memory_later = grown as f64 / sockets as f64;
    }
    if !raw && options.drain {
        bench.drain(before.memory).await?;
    }
    eprintln!("{:?}", bench.level);
    bench
        .connections
        .iter()
        .for_each(|connection| connection.end());
    bench.server.end().await?;
    Ok(bench.level)
}

struct Bench {
    server: Server,
    raw: bool,
    seen: Rc<Seen>,
    connections: Vec<Rc<Connection>>,
    /// On each connection.
    streams: usize,
    level: Level,
}

impl Bench {
    /// What the first connections ever make the server allocate is not the others'.
    async fn baseline(&self) -> io::Result<Usage> {
        let first = Connection::open(self.server.port, 0, self.raw, &self.seen).await?;
        first.open_streams(3, &wire::request(self.raw)).await?;
        first.end();
        sleep(Duration::from_millis(200)).await;
        self.server.usage()
    }

    async fn open(&mut self, sockets: usize, memory: u64) -> io::Result<()> {
        let (before, request) = (self.server.usage()?, wire::request(self.raw));
        let count = sockets.div_ceil(self.streams);
        let _polls = self.polls().await?;
        let start = Instant::now();
        let mut opening = stream::iter(0..count)
            .map(|number| {
                let streams = self.streams.min(sockets - number * self.streams);
                let (port, raw, seen, request) = (self.server.port, self.raw, &self.seen, &request);
                async move {
                    let connection = Connection::open(port, number, raw, seen).await?;
                    connection.open_streams(streams, request).await?;
                    Ok::<_, io::Error>(connection)
                }
            })
            .map(patiently)
            .buffered(AT_ONCE);
        while let Some(connection) = opening.next().await {
            self.connections.push(connection?);
            if self.connections.len().is_multiple_of(1000) {
                let open = self.connections.len() * self.streams;
                eprintln!("{open} open after {:?}", start.elapsed());
            }
        }
        drop(opening);
        // Time to free what the handshakes needed.
        sleep(Duration::from_secs(1)).await;
        let after = self.server.usage()?;
        self.level.open = each(after.cpu - before.cpu, sockets);
        self.level.memory = after.memory.saturating_sub(memory) as f64 / sockets as f64;
        self.level.polls[0] = self.polls().await?;
        Ok(())
    }

    /// What it costs to be there.
    async fn rest(&mut self, seconds: f64) -> io::Result<()> {
        let (before, start) = (self.server.usage()?, Instant::now());
        sleep(Duration::from_secs_f64(seconds)).await;
        let used = self.server.usage()?.cpu - before.cpu;
        self.level.idle = each(used, self.level.sockets) / start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Echoes, of which a hundred are under way at a time, each on connections of its own: with few
    /// connections no two are read at once, which would cost less.
    async fn echo(&mut self, seconds: f64) -> io::Result<()> {
        let (echoes, done) = (Rc::new(Cell::new(0_usize)), Rc::new(Cell::new(false)));
        let walkers = WALKERS.min(self.connections.len());
        let mut tasks = Vec::new();
        for walker in 0..walkers {
            let own = self.connections.iter().skip(walker).step_by(walkers);
            let own: Vec<_> = own.cloned().collect();
            // The last one may have fewer streams.
            let whole = self.level.sockets / self.streams;
            let (streams, last) = (self.streams, self.level.sockets % self.streams);
            let (echoes, done) = (echoes.clone(), done.clone());
            let mut random = Random(walker as u64 + 1);
            tasks.push(tokio::task::spawn_local(async move {
                while !done.get() {
                    let index = random.below(own.len());
                    let is_whole = walker + index * walkers < whole;
                    let stream = random.below(if is_whole { streams } else { last });
                    patiently(own[index].echo(stream)).await?;
                    echoes.set(echoes.get() + 1);
                }
                Ok::<(), io::Error>(())
            }));
        }
        sleep(Duration::from_secs_f64(seconds / 4.0)).await;
        let (before, first) = (self.server.usage()?, echoes.get());
        sleep(Duration::from_secs_f64(seconds)).await;
        let (after, count) = (self.server.usage()?, echoes.get() - first);
        done.set(true);
        for task in tasks {
            task.await??;
        }
        self.level.echo = each(after.cpu - before.cpu, count);
        self.level.echo_kernel = each(after.kernel - before.kernel, count);
        Ok(())
    }

    /// The median of some.
    async fn broadcast(&mut self, rounds: usize) -> io::Result<()> {
        let _polls = self.polls().await?;
        let mut all = Vec::new();
        for _ in 0..rounds {
            all.push(self.broadcast_once().await?);
        }
        // The worst stretch of all of them counts, and of the others the middle one.
        let stretch = all.iter().map(|one| one.stretch).max().unwrap_or(0);
        let peak = all.iter().map(|one| one.peak).fold(0.0, f64::max);
        all.sort_unstable_by_key(|one| one.received);
        let middle = all.get(rounds / 2).cloned();
        self.level.broadcast = middle.map(|one| Broadcast {
            stretch,
            peak,
            ..one
        });
        self.level.polls[1] = self.polls().await?;
        Ok(())
    }

    async fn broadcast_once(&mut self) -> io::Result<Broadcast> {
        self.server.forget_peak()?;
        let (before, start) = (self.server.usage()?, Instant::now());
        let target = self.seen.broadcast.get() + self.level.sockets as u64;
        let answer = self.server.ask("broadcast 100").await?;
        let [sent, closed, queued, stretch] = *answer else {
            return Err(wire::bad("no answer to a broadcast"));
        };
        self.until(|seen| seen.broadcast.get() + closed >= target)
            .await?;
        let received = start.elapsed().as_micros() as u64;
        if sent + closed != self.level.sockets as u64 {
            return Err(wire::bad("a broadcast that not all have got"));
        }
        let after = self.server.usage()?;
        sleep(Duration::from_millis(500)).await;
        Ok(Broadcast {
            queued,
            received,
            stretch,
            each: each(after.cpu - before.cpu, self.level.sockets),
            peak: after.peak.saturating_sub(before.memory) as f64 / self.level.sockets as f64,
            closed,
        })
    }

    async fn drain(&mut self, memory: u64) -> io::Result<()> {
        let _polls = self.polls().await?;
        let before = self.server.usage()?;
        self.seen.closing.set(true);
        // As long as by default, or as it takes.
        let seconds = 30.max(self.level.sockets / 3_000);
        let drain = format!("drain {seconds}");
        let [_, aborted, time, stretch] = *self.server.ask(&drain).await? else {
            return Err(wire::bad("no answer to a drain"));
        };
        self.until(|seen| seen.ended.get() + aborted >= self.level.sockets as u64)
            .await?;
        sleep(Duration::from_secs(1)).await;
        let after = self.server.usage()?;
        let codes = self.seen.codes.take();
        let codes = codes.iter().map(|(code, count)| format!("{code}: {count}"));
        let codes = codes.collect::<Vec<_>>().join(", ");
        let left = after.memory.saturating_sub(memory) as f64;
        self.level.drain = Some(Drain {
            time,
            stretch,
            each: each(after.cpu - before.cpu, self.level.sockets),
            aborted,
            reset: self.seen.reset.get(),
            codes,
            left: left / self.level.sockets as f64,
        });
        self.level.polls[2] = self.polls().await?;
        Ok(())
    }

    async fn polls(&mut self) -> io::Result<(u64, u64)> {
        match *self.server.ask("stretch").await? {
            [longest, long] => Ok((longest, long)),
            _ => Err(wire::bad("no stretches")),
        }
    }

    /// Waits until the clients have seen something.
    async fn until(&self, done: impl Fn(&Seen) -> bool) -> io::Result<()> {
        let start = Instant::now();
        while !done(&self.seen) {
            if let Some(error) = self.seen.failure.borrow_mut().take() {
                return Err(error);
            }
            if start.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

/// A server that does not answer is an error.
async fn patiently<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, future).await?
}

/// Microseconds of it.
fn each(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}

/// Numbers that are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % end
    }
}

/// How many connections are opened at a time.
const AT_ONCE: usize = 16;

/// How many echoes are under way.
const WALKERS: usize = 100;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
