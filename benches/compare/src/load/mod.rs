//! The load generator: one thread, its own frames, no WebSocket library.
//!
//! It drives one server for a while and says what a message cost the server's process, or what a
//! connection took of its memory.

mod broadcast;
mod client;
mod connect;
mod echo;
mod frame;
mod handshake;
mod idle;
mod tail;
mod wire;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_rustls::TlsConnector;

pub(crate) use tail::Beside;

use crate::process::Usage;

/// What is done to a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Every connection sends `burst` messages, waits for them all, and sends the next.
    Echo {
        sockets: Sockets,
        burst: usize,
        sizes: &'static [usize],
        deflate: Option<Deflate>,
    },
    /// The same by 100 of the connections at a time, which go around; the others wait.
    Around {
        sockets: Sockets,
        sizes: &'static [usize],
    },
    /// Connect, shake hands, close, so many at a time.
    Handshakes { at_once: usize },
    /// One connection sends `burst` messages, all receive them, then the next.
    Broadcast {
        connections: usize,
        burst: usize,
        sizes: &'static [usize],
    },
    /// Every connection has one message echoed, and stays.
    Idle {
        sockets: Sockets,
        sizes: &'static [usize],
        deflate: Option<Deflate>,
    },
    /// Small messages one at a time on streams of HTTP/2, while other streams of the same connection
    /// send 64 MiB in messages of 1 MiB, over and over.
    Siblings { small: usize, large: usize },
    /// Small messages at a steady pace over HTTP/1.1, while something goes on beside them.
    Tail(Beside),
}

/// How many WebSockets there are, and over what.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sockets {
    /// HTTP/1.1: so many connections.
    Http1(usize),
    /// HTTP/2: so many connections, each with so many streams.
    Http2(usize, usize),
}

impl Sockets {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::Http1(connections) => connections,
            Self::Http2(connections, streams) => connections * streams,
        }
    }

    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Http2(..))
    }

    /// A tenth of them, at least one, and `most` at most.
    fn tenth(self, most: usize) -> Self {
        let tenth = |count: usize| (count / 10).clamp(1, most);
        match self {
            Self::Http1(connections) => Self::Http1(tenth(connections)),
            Self::Http2(connections, streams) => Self::Http2(tenth(connections), tenth(streams)),
        }
    }
}

impl Load {
    /// The same with so few connections that it is over at once.
    pub(crate) fn small(self) -> Self {
        match self {
            Self::Echo {
                sockets,
                burst,
                sizes,
                deflate,
            } => Self::Echo {
                sockets: sockets.tenth(50),
                burst,
                sizes,
                deflate,
            },
            Self::Around { sockets, sizes } => Self::Around {
                sockets: sockets.tenth(100),
                sizes,
            },
            Self::Broadcast {
                connections,
                burst,
                sizes,
            } => Self::Broadcast {
                connections: connections / 20,
                burst,
                sizes,
            },
            Self::Idle {
                sockets,
                sizes,
                deflate,
            } => Self::Idle {
                sockets: sockets.tenth(100),
                sizes,
                deflate,
            },
            Self::Tail(Beside::Idle(count)) => Self::Tail(Beside::Idle(count / 100)),
            Self::Tail(Beside::Broadcast(count)) => Self::Tail(Beside::Broadcast(count / 100)),
            Self::Tail(Beside::Drain(count)) => Self::Tail(Beside::Drain(count / 100)),
            Self::Handshakes { .. } | Self::Siblings { .. } | Self::Tail(Beside::Large(_)) => self,
        }
    }
}

/// Whether the compressor and decompressor remember earlier messages (RFC 7692 §7.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Deflate {
    /// No context takeover either way.
    Shared,
    /// Context takeover both ways.
    Dedicated,
}

/// The server under load, and how.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) port: u16,
    /// Its process, for what it uses.
    pub(crate) pid: u32,
    /// It echoes bytes, or HTTP/2's DATA, and knows no WebSocket.
    pub(crate) raw: bool,
    pub(crate) tls: Option<TlsConnector>,
    /// How many clients send a byte at a time beside the others.
    pub(crate) slow: usize,
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}

/// What one run measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Microseconds of CPU, all threads of the server, per message.
    pub(crate) cpu: f64,
    /// The same of the clients, and messages per second: for loads that are not over at once.
    pub(crate) clients: f64,
    pub(crate) rate: f64,
    /// Bytes of resident memory per WebSocket, for [`Load::Idle`].
    pub(crate) memory: f64,
    /// Microseconds from sending to the whole answer, which one in a hundred exceeds.
    pub(crate) p99: f64,
    /// The same, which none exceeds: for [`Load::Tail`].
    pub(crate) worst: f64,
}

/// Runs a load. A server that answers wrongly, or not for ten seconds, is an error.
pub(crate) fn run(target: &Target, load: Load) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let limit = Duration::from_secs(60) + target.warm_up + target.duration;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let run = async {
            match load {
                Load::Echo {
                    sockets,
                    burst,
                    sizes,
                    deflate,
                } => echo::run(target, sockets, burst, sizes, deflate).await,
                Load::Around { sockets, sizes } => echo::around(target, sockets, sizes).await,
                Load::Handshakes { at_once } => handshake::run(target, at_once).await,
                Load::Broadcast {
                    connections,
                    burst,
                    sizes,
                } => broadcast::run(target, connections, burst, sizes).await,
                Load::Idle {
                    sockets,
                    sizes,
                    deflate,
                } => idle::run(target, sockets, sizes, deflate).await,
                Load::Siblings { small, large } => echo::beside(target, small, large).await,
                Load::Tail(beside) => tail::run(target, beside).await,
            }
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        tokio::time::timeout(limit, run).await.map_err(late)?
    })
}

/// What the clients of one run have in common.
#[derive(Default)]
struct Progress {
    messages: Cell<u64>,
    measuring: Cell<bool>,
    latencies: RefCell<Vec<Duration>>,
    failure: RefCell<Option<io::Error>>,
}

impl Progress {
    /// Runs a client beside the others; its failure is the failure of the run.
    fn spawn(self: &Rc<Self>, client: impl Future<Output = io::Result<()>> + 'static) {
        let progress = self.clone();
        tokio::task::spawn_local(async move {
            if let Err(error) = client.await {
                progress.failure.replace(Some(error));
            }
        });
    }

    fn add(&self, messages: u64) {
        self.messages.set(self.messages.get() + messages);
    }

    /// Lets the clients run, and measures what happens after the warm-up.
    async fn measure(&self, target: &Target) -> io::Result<Outcome> {
        tokio::time::sleep(target.warm_up).await;
        self.measuring.set(true);
        let clients = Usage::of(std::process::id())?;
        let (before, first) = (Usage::of(target.pid)?, self.messages.get());
        let start = Instant::now();
        let mut patience = 20;
        // A run without a single message goes on until there is one.
        loop {
            tokio::time::sleep(target.duration).await;
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            patience -= 1;
            if self.messages.get() > first || patience == 0 {
                break;
            }
        }
        let (after, elapsed) = (Usage::of(target.pid)?, start.elapsed());
        let clients = Usage::of(std::process::id())?.cpu - clients.cpu;
        let messages = (self.messages.get() - first) as f64;
        if messages == 0.0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(Outcome {
            cpu: (after.cpu - before.cpu).as_secs_f64() * 1e6 / messages,
            clients: clients.as_secs_f64() * 1e6 / messages,
            rate: messages / elapsed.as_secs_f64(),
            p99: p99(&mut self.latencies.borrow_mut()),
            ..Outcome::default()
        })
    }
}

fn p99(latencies: &mut [Duration]) -> f64 {
    latencies.sort_unstable();
    let at = latencies.len() * 99 / 100;
    latencies
        .get(at)
        .map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}

/// Trusts the certificate that the servers of this run show.
pub(crate) fn tls(certificate: &rcgen::Certificate) -> io::Result<TlsConnector> {
    let mut roots = tokio_rustls::rustls::RootCertStore::empty();
    roots
        .add(certificate.der().clone())
        .map_err(io::Error::other)?;
    let config = tokio_rustls::rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Numbers that are the same in every run (xorshift).
struct Rng(u64);

impl Default for Rng {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Rng {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// JSON as services send it: names that repeat, numbers that do not.
    fn json(&mut self, len: usize) -> Vec<u8> {
        const NAMES: [&str; 6] = ["Ada", "Blaise", "Chloé", "Dmitri", "Edsger", "François"];
        let mut json = String::from("[");
        while json.len() < len {
            let (id, price, name) = (self.next(), self.next(), self.next() as usize);
            json += &format!(
                r#"{{"id":{},"user":"{}","price":{}.{:02},"count":{},"side":"{}"}},"#,
                id % 1_000_000,
                NAMES[name % NAMES.len()],
                price % 5_000,
                price % 97,
                id % 300,
                if id & 0x1000 == 0 { "buy" } else { "sell" },
            );
        }
        json.truncate(json.floor_char_boundary(len));
        json += &" ".repeat(len - json.len());
        json.into_bytes()
    }
}
