//! What is measured: the rows of the table.

use crate::load::{Beside, Deflate, Load, Sockets};
use crate::serve::Mode;

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) load: Load,
    pub(crate) mode: Mode,
    pub(crate) measure: Measure,
    /// The server that the others are divided by.
    pub(crate) base: &'static str,
}

/// What a row's figures are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Measure {
    /// Microseconds of the server's CPU per message.
    Cpu,
    /// Kilobytes of the server's resident memory per WebSocket.
    Memory,
    /// Microseconds that one message in a hundred exceeds.
    P99,
    /// Microseconds that no message exceeds.
    Worst,
}

impl Measure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "µs",
            Self::Memory => "KB",
            Self::P99 => "µs (p99)",
            Self::Worst => "µs (worst)",
        }
    }
}

impl Scenario {
    /// Whether it runs when nobody chose.
    pub(crate) fn is_default(&self) -> bool {
        !matches!(self.measure, Measure::P99 | Measure::Worst)
    }

    pub(crate) fn is_http2(&self) -> bool {
        match self.load {
            Load::Echo { sockets, .. }
            | Load::Around { sockets, .. }
            | Load::Idle { sockets, .. } => sockets.is_http2(),
            Load::Siblings { .. } => true,
            Load::Handshakes { .. } | Load::Broadcast { .. } | Load::Tail(_) => false,
        }
    }

    /// Whether a server that only sends bytes back can take part.
    pub(crate) fn is_for_raw(&self) -> bool {
        let handshakes = matches!(self.load, Load::Handshakes { .. });
        self.mode == Mode::Echo && !handshakes
    }

    /// The same with messages of many sizes, where they are echoed as they are.
    pub(crate) fn mixed(self) -> Self {
        let load = match self.load {
            Load::Echo {
                sockets,
                burst,
                deflate: None,
                ..
            } => Load::Echo {
                sockets,
                burst,
                sizes: MIXED,
                deflate: None,
            },
            load => load,
        };
        Self { load, ..self }
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Mostly small, some larger, as an application's are.
const MIXED: &[usize] = &[
    20,
    125,
    20,
    1000,
    20,
    300,
    60,
    20,
    4 * KIB,
    20,
    125,
    16 * KIB,
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    echo(
        "R1",
        "10 connections, bursts of 64, 20 B",
        Sockets::Http1(10),
        64,
        &[20],
    ),
    echo(
        "R2",
        "10 connections, bursts of 64, 1 KiB",
        Sockets::Http1(10),
        64,
        &[KIB],
    ),
    echo(
        "R3",
        "100 connections, one by one, 20 B",
        Sockets::Http1(100),
        1,
        &[20],
    ),
    echo(
        "R4",
        "1,000 connections, one by one, 20 B",
        Sockets::Http1(1000),
        1,
        &[20],
    ),
    echo(
        "R5",
        "100 connections, one by one, 16 KiB",
        Sockets::Http1(100),
        1,
        &[16 * KIB],
    ),
    echo(
        "R6",
        "1 connection, one by one, 1 MiB",
        Sockets::Http1(1),
        1,
        &[MIB],
    ),
    scenario(
        "R7",
        "handshake and close",
        Load::Handshakes { at_once: 16 },
    ),
    idle("R8", "memory of an idle connection", Sockets::Http1(5000)),
    broadcast("R9", "to 1,000 members, 8 at a time, 100 B", 8),
    broadcast("R10", "to 1,000 members, one by one, 100 B", 1),
    compressed(
        "R11",
        "compressed, no context takeover, 1 KiB JSON",
        Deflate::Shared,
    ),
    compressed_idle("R11m", "its memory per connection", Deflate::Shared),
    compressed(
        "R12",
        "compressed, context takeover, 1 KiB JSON",
        Deflate::Dedicated,
    ),
    compressed_idle("R12m", "its memory per connection", Deflate::Dedicated),
    echo(
        "R13",
        "HTTP/2, 100 streams, one by one, 125 B",
        Sockets::Http2(1, 100),
        1,
        &[125],
    ),
    echo(
        "R14",
        "HTTP/2, 10 streams, bursts of 64, 125 B",
        Sockets::Http2(1, 10),
        64,
        &[125],
    ),
    echo(
        "R15a",
        "HTTP/2, 1 stream, one by one, 1 MiB",
        Sockets::Http2(1, 1),
        1,
        &[MIB],
    ),
    echo(
        "R15b",
        "HTTP/2, 100 streams, one by one, 16 KiB",
        Sockets::Http2(1, 100),
        1,
        &[16 * KIB],
    ),
    idle(
        "R16",
        "HTTP/2, memory of an idle stream",
        Sockets::Http2(50, 100),
    ),
    tail(
        "p99-rest",
        "125 B beside 10,000 idle connections",
        Beside::Idle(10_000),
        Mode::Echo,
    ),
    tail(
        "p99",
        "125 B beside 2 connections with 64 MiB",
        Beside::Large(2),
        Mode::Echo,
    ),
    tail(
        "p99-cast",
        "125 B beside broadcasts to 10,000",
        Beside::Broadcast(10_000),
        Mode::Broadcast,
    ),
    Scenario {
        base: "ours",
        ..tail(
            "p99-drain",
            "125 B beside the draining of 10,000",
            Beside::Drain(10_000),
            Mode::Drain,
        )
    },
    Scenario {
        base: "ours",
        measure: Measure::Worst,
        ..tail(
            "worst-drain",
            "the same, at worst",
            Beside::Drain(10_000),
            Mode::Drain,
        )
    },
    Scenario {
        measure: Measure::P99,
        ..scenario(
            "p99-h2",
            "HTTP/2, 125 B beside 2 sibling streams with 64 MiB",
            Load::Siblings {
                small: 10,
                large: 2,
            },
        )
    },
];

const fn scenario(name: &'static str, about: &'static str, load: Load) -> Scenario {
    Scenario {
        name,
        about,
        load,
        mode: Mode::Echo,
        measure: Measure::Cpu,
        base: "axum",
    }
}

const fn echo(
    name: &'static str,
    about: &'static str,
    sockets: Sockets,
    burst: usize,
    sizes: &'static [usize],
) -> Scenario {
    scenario(
        name,
        about,
        Load::Echo {
            sockets,
            burst,
            sizes,
            deflate: None,
        },
    )
}

const fn idle(name: &'static str, about: &'static str, sockets: Sockets) -> Scenario {
    let load = Load::Idle {
        sockets,
        sizes: &[100],
        deflate: None,
    };
    Scenario {
        measure: Measure::Memory,
        ..scenario(name, about, load)
    }
}

const fn broadcast(name: &'static str, about: &'static str, burst: usize) -> Scenario {
    let load = Load::Broadcast {
        connections: 1000,
        burst,
        sizes: &[100],
    };
    Scenario {
        mode: Mode::Broadcast,
        ..scenario(name, about, load)
    }
}

const fn compressed(name: &'static str, about: &'static str, deflate: Deflate) -> Scenario {
    let sockets = Sockets::Http1(10);
    let load = Load::Echo {
        sockets,
        burst: 1,
        sizes: &[KIB],
        deflate: Some(deflate),
    };
    let (mode, base) = compressing(deflate);
    Scenario {
        mode,
        base,
        ..scenario(name, about, load)
    }
}

const fn compressed_idle(name: &'static str, about: &'static str, deflate: Deflate) -> Scenario {
    let sockets = Sockets::Http1(1000);
    let load = Load::Idle {
        sockets,
        sizes: &[KIB],
        deflate: Some(deflate),
    };
    let (mode, base) = compressing(deflate);
    Scenario {
        mode,
        base,
        measure: Measure::Memory,
        ..scenario(name, about, load)
    }
}

/// axum has no compression; each is compared to the best of the others.
const fn compressing(deflate: Deflate) -> (Mode, &'static str) {
    match deflate {
        Deflate::Shared => (Mode::Shared, "sockudo"),
        Deflate::Dedicated => (Mode::Dedicated, "yawc"),
    }
}

const fn tail(name: &'static str, about: &'static str, beside: Beside, mode: Mode) -> Scenario {
    Scenario {
        mode,
        measure: Measure::P99,
        ..scenario(name, about, Load::Tail(beside))
    }
}
