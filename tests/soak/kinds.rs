//! Every way in which a connection may end: what the server does on it, what the client does, and what
//! the server's report may say then.

use std::time::Duration;

use tower_websocket::{Compression, Config, OriginPolicy};

/// A way to end.
pub(crate) struct Kind {
    /// Its path on the server, too.
    pub(crate) name: &'static str,
    pub(crate) setting: Setting,
    pub(crate) does: Does,
    pub(crate) opening: Opening,
    /// What the client does once it is open.
    pub(crate) acts: &'static [Act],
    /// Which HTTP it is for.
    pub(crate) http: Http,
    /// How it may end by the server's report, as [`told`](super::server) writes it.
    pub(crate) ends: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Http {
    Both,
    Only1,
    Only2,
}

/// What the server's configuration has beside the defaults.
#[derive(Clone, Copy)]
pub(crate) enum Setting {
    Default,
    Deflate,
    Streaming,
    /// Pings at once, and waits for the answer no longer.
    Pings,
    Frame,
    Idle,
    IdleAndGone,
    Lifetime,
    First,
    Close,
}

impl Setting {
    /// Whether a deadline is what ends it.
    pub(crate) fn has_deadline(self) -> bool {
        !matches!(self, Self::Default | Self::Deflate | Self::Streaming)
    }

    pub(crate) fn config(self) -> Config {
        let config = Config::default().origin(OriginPolicy::Any);
        match self {
            Self::Default => config,
            Self::Deflate => config.compression(Compression::shared()),
            Self::Streaming => config.streaming(true),
            Self::Pings => config.ping_interval(SOON).ping_timeout(SOON),
            Self::Frame => config.frame_timeout(SOON),
            Self::Idle => config.idle_timeout(SOON),
            Self::IdleAndGone => config.idle_timeout(SOON).close_timeout(SOON),
            Self::Lifetime => config.max_lifetime(SOON),
            Self::First => config.first_message_timeout(SOON),
            Self::Close => config.close_timeout(SOON).linger(SOON),
        }
    }
}

/// What is waited for where a deadline is what ends it.
const SOON: Duration = Duration::from_millis(100);

/// What the server's handler does; all but `Flood` say what they heard first.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    /// Says again what it hears, as a member of a group, until it is over.
    Echo,
    /// The same, in pieces.
    Stream,
    /// The same, by another task that has the sender.
    Split,
    /// Closes with 1000.
    Close,
    /// Closes, and hears what comes after that.
    CloseAndHear,
    Return,
    Fail,
    Panic,
    Abort,
    /// Sends for ever, and hears nothing.
    Flood,
    /// Waits for the end without hearing anything more.
    Wait,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Opening {
    /// Asked for, and answered.
    Full,
    /// Asked for; nobody looks at the answer.
    Unread,
    /// Half a request.
    Half,
    /// Asked for as nobody may.
    Refused,
}

/// What a client does. One over HTTP/2 does it on several streams of a connection.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// Sends these bytes.
    Say(&'static [u8]),
    /// Waits for the echo of [`TEXT`].
    HearText,
    /// Waits for a Close frame with this code.
    HearClose(u16),
    /// Waits until the server has ended it, whatever else comes.
    HearEnd,
    Wait(u64),
    /// FIN, or END_STREAM.
    Finish,
    /// RST, or RST_STREAM.
    Reset,
    /// GOAWAY.
    GoAway,
    /// What the rules of HTTP/2 forbid: DATA on stream 0.
    BreakHttp2,
    /// Closes the TCP connection.
    Drop,
    /// Closes it with a RST.
    DropReset,
}

use Act::{
    BreakHttp2, Drop, DropReset, Finish, GoAway, HearClose, HearEnd, HearText, Reset, Say, Wait,
};

/// A text of 5 bytes, masked with zeros.
pub(crate) const TEXT: &[u8] = b"\x81\x85\0\0\0\0hello";
const HALF_TEXT: &[u8] = b"\x81\x85\0\0\0\0he";
const HALF_HEADER: &[u8] = b"\x82\xfe\x04";
const FRAGMENT: &[u8] = b"\x01\x85\0\0\0\0hello";
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
const CLOSE_EMPTY: &[u8] = b"\x88\x80\0\0\0\0";
const CLOSE_1001: &[u8] = b"\x88\x82\0\0\0\0\x03\xe9";
const HALF_CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03";
const CLOSE_999: &[u8] = b"\x88\x82\0\0\0\0\x03\xe7";
const UNMASKED: &[u8] = b"\x81\x05hello";
const RESERVED_OPCODE: &[u8] = b"\x83\x80\0\0\0\0";
const RESERVED_BIT: &[u8] = b"\xc1\x85\0\0\0\0hello";
const LONG_PING: &[u8] = b"\x89\xfe\x00\x7e\0\0\0\0";
const LOST_CONTINUATION: &[u8] = b"\x80\x85\0\0\0\0hello";
const NOT_UTF8: &[u8] = b"\x81\x82\0\0\0\0\xff\xff";
const TOO_LARGE: &[u8] = b"\x82\xff\0\0\0\0\x00\x40\0\0\0\0\0\0";
const NOT_DEFLATE: &[u8] = b"\xc1\x85\0\0\0\0\xff\xff\xff\xff\xff";
const PINGS: &[u8] = &{
    let mut pings = [0; 6 * 400];
    let mut at = 0;
    while at < pings.len() {
        (pings[at], pings[at + 1]) = (0x89, 0x80);
        at += 6;
    }
    pings
};

const GONE: &[&str] = &["Disconnect 1006 unclean"];

/// Who does not take what is sent to the group is closed with 1013.
const FLOODED: &[&str] = &["Disconnect 1006 unclean", "Local 1013 unclean"];

/// A reset may overtake the Close frame before it, and one is what a drop is that leaves something unread.
const OVERTAKEN: &[&str] = &[
    "Peer 1000 clean",
    "Peer 1000 unclean",
    "Disconnect 1006 unclean",
];

/// An echo that both sides agree on until the client ends it.
const fn echo(name: &'static str, acts: &'static [Act], ends: &'static [&'static str]) -> Kind {
    does(name, Does::Echo, acts, ends)
}

const fn does(
    name: &'static str,
    does: Does,
    acts: &'static [Act],
    ends: &'static [&'static str],
) -> Kind {
    Kind {
        name,
        setting: Setting::Default,
        does,
        opening: Opening::Full,
        acts,
        http: Http::Both,
        ends,
    }
}

impl Kind {
    /// Whether the server need not lose its patience with it.
    pub(crate) fn is_answered(&self) -> bool {
        self.acts
            .iter()
            .any(|act| matches!(act, Say(CLOSE_1001) | Reset))
    }

    const fn only(mut self, http: Http) -> Self {
        self.http = http;
        self
    }

    const fn with(mut self, setting: Setting) -> Self {
        self.setting = setting;
        self
    }

    const fn opened(mut self, opening: Opening) -> Self {
        self.opening = opening;
        self
    }
}

/// A rule is broken, which is answered with this code; the client answers that and goes.
macro_rules! violation {
    ($name:literal, $says:expr, $code:literal, $told:literal) => {
        echo(
            $name,
            &[Say(TEXT), HearText, Say($says), HearClose($code), Drop],
            &[$told],
        )
    };
}

pub(crate) const KINDS: &[Kind] = &[
    // The closing handshake.
    echo(
        "peer-closes",
        &[Say(TEXT), HearText, Say(CLOSE), HearClose(1000), HearEnd],
        &["Peer 1000 clean"],
    ),
    echo(
        "peer-closes-without-code",
        &[Say(CLOSE_EMPTY), HearClose(1005), HearEnd],
        &["Peer 1005 clean"],
    ),
    echo(
        "peer-goes-away",
        &[
            Say(TEXT),
            HearText,
            Say(CLOSE_1001),
            HearClose(1001),
            Finish,
        ],
        &["Peer 1001 clean"],
    ),
    does(
        "server-closes",
        Does::Close,
        &[Say(TEXT), HearText, HearClose(1000), Say(CLOSE), HearEnd],
        &["Local 1000 clean"],
    ),
    does(
        "server-closes-and-hears",
        Does::CloseAndHear,
        &[
            Say(TEXT),
            HearText,
            HearClose(1000),
            Say(TEXT),
            Say(CLOSE),
            HearEnd,
        ],
        &["Local 1000 clean"],
    ),
    does(
        "handler-returns",
        Does::Return,
        &[Say(TEXT), HearText, HearClose(1000), Say(CLOSE), HearEnd],
        &["Local 1000 clean"],
    ),
    does(
        "handler-fails",
        Does::Fail,
        &[Say(TEXT), HearText, HearClose(1011), Say(CLOSE), HearEnd],
        &["Local 1011 clean"],
    ),
    does(
        "handler-panics",
        Does::Panic,
        &[Say(TEXT), HearText, HearClose(1011), Say(CLOSE), HearEnd],
        &["Local 1011 clean"],
    ),
    does(
        "server-aborts",
        Does::Abort,
        &[Say(TEXT), HearEnd],
        &["Disconnect 1006 unclean"],
    ),
    echo(
        "peer-closes-and-drops",
        &[Say(TEXT), HearText, Say(CLOSE), Drop],
        OVERTAKEN,
    ),
    echo(
        "peer-closes-and-resets",
        &[Say(TEXT), HearText, Say(CLOSE), Reset],
        OVERTAKEN,
    ),
    does(
        "close-is-answered-by-a-reset",
        Does::Close,
        &[Say(TEXT), HearText, HearClose(1000), Reset],
        &["Local 1000 unclean"],
    ),
    does(
        "close-is-answered-by-half-a-close",
        Does::Close,
        &[
            Say(TEXT),
            HearText,
            HearClose(1000),
            Say(HALF_CLOSE),
            Finish,
        ],
        &["Local 1000 unclean"],
    ),
    // The transport ends, at one point or another.
    echo("peer-ends", &[Say(TEXT), HearText, Finish, HearEnd], GONE),
    echo("peer-drops", &[Say(TEXT), HearText, Drop], GONE),
    echo("peer-resets", &[Say(TEXT), HearText, Reset], GONE),
    echo("peer-resets-at-once", &[Reset], GONE),
    echo("peer-ends-at-once", &[Finish], GONE),
    echo("peer-says-nothing", &[Wait(50), Reset], GONE),
    echo("half-a-frame-and-end", &[Say(HALF_TEXT), Finish], GONE),
    echo(
        "half-a-frame-and-reset",
        &[Say(HALF_TEXT), Wait(5), Reset],
        GONE,
    ),
    echo("half-a-header-and-drop", &[Say(HALF_HEADER), Drop], GONE),
    echo(
        "a-fragment-and-reset",
        &[Say(TEXT), HearText, Say(FRAGMENT), Reset],
        GONE,
    ),
    echo(
        "half-a-close-and-end",
        &[Say(TEXT), HearText, Say(HALF_CLOSE), Finish],
        GONE,
    ),
    does(
        "not-heard-and-reset",
        Does::Wait,
        &[Say(TEXT), HearText, Say(TEXT), Reset],
        GONE,
    ),
    does(
        "in-pieces-and-reset",
        Does::Stream,
        &[Say(TEXT), HearText, Say(FRAGMENT), Reset],
        GONE,
    )
    .with(Setting::Streaming),
    does(
        "in-pieces",
        Does::Stream,
        &[Say(TEXT), HearText, Say(CLOSE), HearClose(1000), HearEnd],
        &["Peer 1000 clean"],
    )
    .with(Setting::Streaming),
    does(
        "split-and-reset",
        Does::Split,
        &[Say(TEXT), HearText, Reset],
        GONE,
    ),
    does(
        "split",
        Does::Split,
        &[Say(TEXT), HearText, Say(CLOSE), HearClose(1000), HearEnd],
        &["Peer 1000 clean"],
    ),
    does(
        "flooded-and-reset",
        Does::Flood,
        &[Wait(20), Reset],
        FLOODED,
    ),
    does("flooded-and-drop", Does::Flood, &[Wait(20), Drop], FLOODED),
    // The rules.
    violation!("unmasked", UNMASKED, 1002, "Violation 1002 unclean"),
    violation!(
        "reserved-opcode",
        RESERVED_OPCODE,
        1002,
        "Violation 1002 unclean"
    ),
    violation!("reserved-bit", RESERVED_BIT, 1002, "Violation 1002 unclean"),
    violation!("long-ping", LONG_PING, 1002, "Violation 1002 unclean"),
    violation!(
        "lost-continuation",
        LOST_CONTINUATION,
        1002,
        "Violation 1002 unclean"
    ),
    violation!(
        "wrong-close-code",
        CLOSE_999,
        1002,
        "Violation 1002 unclean"
    ),
    violation!("not-utf8", NOT_UTF8, 1007, "Violation 1007 unclean"),
    violation!("too-large", TOO_LARGE, 1009, "Violation 1009 unclean"),
    violation!("ping-flood", PINGS, 1008, "Violation 1008 unclean"),
    echo(
        "not-deflate",
        &[Say(NOT_DEFLATE), HearClose(1007), Drop],
        &["Violation 1007 unclean"],
    )
    .with(Setting::Deflate),
    echo(
        "unmasked-and-answered",
        &[Say(UNMASKED), HearClose(1002), Say(CLOSE), HearEnd],
        &["Violation 1002 clean", "Violation 1002 unclean"],
    ),
    // The deadlines.
    echo("pings-not-answered", &[HearEnd], &["Timeout 1011 unclean"]).with(Setting::Pings),
    echo(
        "half-a-frame-for-too-long",
        &[Say(HALF_TEXT), HearClose(1008), Drop],
        &["Timeout 1008 unclean"],
    )
    .with(Setting::Frame),
    echo(
        "idle-and-closed",
        &[HearClose(1001), Say(CLOSE), HearEnd],
        &["Timeout 1001 clean"],
    )
    .with(Setting::Idle),
    echo(
        "idle-and-gone",
        &[HearClose(1001), HearEnd],
        &["Timeout 1001 unclean"],
    )
    .with(Setting::IdleAndGone),
    echo(
        "too-old",
        &[HearClose(1001), Say(CLOSE), HearEnd],
        &["Timeout 1001 clean"],
    )
    .with(Setting::Lifetime),
    echo(
        "nothing-to-say",
        &[HearClose(1008), Say(CLOSE), HearEnd],
        &["Timeout 1008 clean"],
    )
    .with(Setting::First),
    does(
        "close-not-answered",
        Does::Close,
        &[Say(TEXT), HearText, HearClose(1000), HearEnd],
        &["Local 1000 unclean"],
    )
    .with(Setting::Close),
    // HTTP/2's own.
    echo("goaway", &[Say(TEXT), HearText, GoAway, Drop], GONE).only(Http::Only2),
    echo(
        "goaway-and-closed",
        &[
            Say(TEXT),
            HearText,
            GoAway,
            Say(CLOSE),
            HearClose(1000),
            HearEnd,
        ],
        &["Peer 1000 clean"],
    )
    .only(Http::Only2),
    echo("http2-reset", &[Say(TEXT), HearText, DropReset], GONE).only(Http::Only2),
    echo(
        "http2-broken",
        &[Say(TEXT), HearText, BreakHttp2, HearEnd],
        GONE,
    )
    .only(Http::Only2),
    echo(
        "http2-closed-and-reset",
        &[Say(TEXT), HearText, Say(CLOSE), HearClose(1000), DropReset],
        &["Peer 1000 clean", "Peer 1000 unclean"],
    )
    .only(Http::Only2),
    // The opening handshake.
    echo("not-waited-for", &[Reset], GONE).opened(Opening::Unread),
    echo("half-a-request", &[Drop], &[])
        .opened(Opening::Half)
        .only(Http::Only1),
    echo("half-a-request-and-reset", &[DropReset], &[]).opened(Opening::Half),
    echo("refused", &[Drop], &[]).opened(Opening::Refused),
    // Bytes of HTTP/1.1 that no WebSocket has: a reset while the answer is on its way.
    echo("talked-past-the-answer", &[Say(TEXT), Reset], GONE)
        .opened(Opening::Unread)
        .only(Http::Only1),
];

/// What connections do that are there when the server stops; each in its turn.
pub(crate) const DRAINED: &[Kind] = &[
    echo(
        "drained",
        &[
            Say(TEXT),
            HearText,
            HearClose(1001),
            Say(CLOSE_1001),
            HearEnd,
        ],
        &["Local 1001 clean"],
    ),
    echo(
        "drained-and-reset",
        &[Say(TEXT), HearText, HearClose(1001), Reset],
        &["Local 1001 unclean"],
    ),
    echo(
        "drained-and-not-answered",
        &[Say(TEXT), HearText, HearClose(1001), HearEnd],
        &["Local 1001 unclean"],
    ),
    does(
        "drained-and-not-heard",
        Does::Wait,
        &[Say(TEXT), HearText, Say(HALF_TEXT), HearEnd],
        &["Local 1001 unclean"],
    ),
];

/// Where all others talk: those of this crate and of others.
pub(crate) const SOAKED: &[Kind] = &[
    echo("soaked", &[], &[]),
    echo("soaked-deflate", &[], &[]).with(Setting::Deflate),
];
