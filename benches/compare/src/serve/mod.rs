//! The servers: `compare serve NAME PORT MODE [--http2] [--threads N]`.
//!
//! Each in the shape of its library's own example, with its default settings. What differs between
//! them is the library and nothing else: one runtime, one allocator, one way to accept.

mod axum_ws;
mod fastwebsockets;
mod incoming;
mod limits;
mod ours;
mod sockudo;
mod tokio_websockets;
mod tungstenite;
mod wtx;
mod yawc;

use std::future::Future;
use std::io;
use std::pin::Pin;

pub(crate) use incoming::CERTIFICATE;
use incoming::Incoming;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Running = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// What a server does with messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Every message goes back.
    Echo,
    /// The same with compression offered, no context takeover.
    Shared,
    /// The same with compression offered, context takeover.
    Dedicated,
    /// Every message goes to every connection, the sender's own too; to none but it on `/echo`.
    Broadcast,
    /// The first message has all connections closed, but those on `/echo`.
    Drain,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Shared => "shared",
            Self::Dedicated => "dedicated",
            Self::Broadcast => "broadcast",
            Self::Drain => "drain",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        OURS.iter().copied().find(|mode| mode.name() == name)
    }

    /// What a connection on that path is for.
    fn at(self, path: &str) -> Self {
        if path == "/echo" { Self::Echo } else { self }
    }
}

/// A server of this binary. All take WebSockets over HTTP/1.1.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The package whose version counts.
    pub(crate) package: &'static str,
    pub(crate) modes: &'static [Mode],
    /// Whether it also takes them over HTTP/2 (RFC 8441).
    pub(crate) http2: bool,
    /// It knows no WebSocket: bytes, or HTTP/2's DATA, come back as they are.
    pub(crate) raw: bool,
    run: fn(Incoming, Job) -> Running,
}

/// What a server is started for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) mode: Mode,
    /// For libraries that have another server for it.
    pub(crate) http2: bool,
}

const ECHO: &[Mode] = &[Mode::Echo];
const PLAIN: &[Mode] = &[Mode::Echo, Mode::Broadcast];
const COMPRESSED: &[Mode] = &[Mode::Shared, Mode::Dedicated];
const ECHOES: &[Mode] = &[Mode::Echo, Mode::Shared, Mode::Dedicated];
pub(crate) const ALL: &[Mode] = &[Mode::Echo, Mode::Shared, Mode::Dedicated, Mode::Broadcast];
const OURS: &[Mode] = &[
    Mode::Echo,
    Mode::Shared,
    Mode::Dedicated,
    Mode::Broadcast,
    Mode::Drain,
];

/// All servers, in the order of the table's columns.
pub(crate) const PEERS: &[Peer] = &[
    peer("axum", "axum", PLAIN, true, |incoming, job| {
        Box::pin(axum_ws::serve(incoming, job.mode, None))
    }),
    // The same once more: what differs between the two is noise.
    peer("axum-again", "axum", PLAIN, true, |incoming, job| {
        Box::pin(axum_ws::serve(incoming, job.mode, None))
    }),
    peer("rb4k", "axum", PLAIN, true, |incoming, job| {
        Box::pin(axum_ws::serve(incoming, job.mode, Some(4096)))
    }),
    peer(
        "tungstenite",
        "tokio-tungstenite",
        PLAIN,
        false,
        |incoming, job| Box::pin(tungstenite::serve(incoming, job.mode)),
    ),
    peer(
        "fastwebsockets",
        "fastwebsockets",
        PLAIN,
        false,
        |incoming, job| Box::pin(fastwebsockets::serve(incoming, job.mode)),
    ),
    peer(
        "tokio-websockets",
        "tokio-websockets",
        PLAIN,
        false,
        |incoming, job| Box::pin(tokio_websockets::serve(incoming, job.mode)),
    ),
    peer("yawc", "yawc", ECHOES, true, |incoming, job| {
        Box::pin(yawc::serve(incoming, job))
    }),
    peer("sockudo", "sockudo-ws", ALL, true, |incoming, job| {
        Box::pin(sockudo::serve(incoming, job))
    }),
    peer("wtx", "wtx", ECHO, false, |incoming, _| {
        Box::pin(wtx::serve(incoming))
    }),
    peer("ours", "tower-websocket", OURS, true, |incoming, job| {
        Box::pin(ours::serve(incoming, job.mode, None))
    }),
    // At the level of compression that the others have by default.
    peer(
        "ours-level6",
        "tower-websocket",
        COMPRESSED,
        false,
        |incoming, job| Box::pin(ours::serve(incoming, job.mode, Some(6))),
    ),
    Peer {
        raw: true,
        ..peer("raw", "tokio", ECHO, true, |incoming, job| {
            Box::pin(limits::serve(incoming, job))
        })
    },
];

const fn peer(
    name: &'static str,
    package: &'static str,
    modes: &'static [Mode],
    http2: bool,
    run: fn(Incoming, Job) -> Running,
) -> Peer {
    Peer {
        name,
        package,
        modes,
        http2,
        raw: false,
        run,
    }
}

/// Serves until the process is ended.
pub(crate) fn run(name: &str, port: u16, job: Job, threads: usize) -> Result<(), BoxError> {
    let peer = PEERS.iter().find(|peer| peer.name == name);
    let peer = peer.ok_or_else(|| io::Error::other(format!("no server {name}")))?;
    let runtime = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
        more => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(more)
            .enable_all()
            .build()?,
    };
    runtime.block_on(async {
        let incoming = Incoming::bind(port).await?;
        tokio::spawn((peer.run)(incoming, job)).await?
    })
}
