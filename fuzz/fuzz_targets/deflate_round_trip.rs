//! Two `Connection`s that compress for each other, in memory.
//!
//! Whatever the parameters, the settings, the messages and the cutting: every message arrives, equal
//! and in order, no connection fails, and pings between messages are seen. A naive reader, to which the
//! same bytes are given, sees the same, and finds no reference beyond the agreed window.
#![no_main]

use std::{collections::VecDeque, time::Instant};

use arbitrary::{Arbitrary, Unstructured};
use bytes::Buf;
use libfuzzer_sys::fuzz_target;
use tower_websocket::{
    Compression, Config, Event, Message, PreparedMessage,
    protocol::{Connection, DeflateParams, Outbound, Role},
};
use tower_websocket_fuzz::{
    bytes,
    frames::{self, Deflate, End, Rules, Seen},
    text,
};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    server: Side,
    client: Side,
    /// Over and over.
    cuts: [u16; 2],
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
struct Side {
    no_context_takeover: bool,
    #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(8..=15))]
    window_bits: u8,
    #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(1..=9))]
    level: u8,
    #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(1..=9))]
    memory_level: u8,
    threshold: u8,
    fragment_size: Option<u16>,
    max_memory: Option<u32>,
}

#[derive(Arbitrary, Debug)]
struct Step<'a> {
    from_server: bool,
    is_text: bool,
    payload: Payload<'a>,
    how: How,
    ping: bool,
    /// Leaves what was sent in the queue, for the next step to take with its own.
    keep: bool,
}

#[derive(Arbitrary, Debug)]
enum Payload<'a> {
    Bytes(#[arbitrary(with = bytes)] &'a [u8]),
    Repeated(#[arbitrary(with = bytes)] &'a [u8], u8),
    Noise(
        u32,
        #[arbitrary(with = |u: &mut Unstructured| u.int_in_range(0..=3_000))] u16,
    ),
    /// Part of an earlier message, for a later one to refer to.
    Earlier(u8, u16, u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum How {
    Usual,
    Compressed,
    Uncompressed,
    Prepared,
    PreparedCompressed,
    /// Once more what was prepared before.
    PreparedEarlier(u8),
}

fuzz_target!(|input: Input| {
    let params = DeflateParams {
        server_no_context_takeover: input.server.no_context_takeover,
        client_no_context_takeover: input.client.no_context_takeover,
        server_max_window_bits: input.server.window_bits,
        client_max_window_bits: input.client.window_bits,
    };
    let mut talk = Talk {
        server: input.server.connection(Role::Server, params),
        client: input.client.connection(Role::Client, params),
        expected: [VecDeque::new(), VecDeque::new()],
        carried: [Carried::default(), Carried::default()],
        longest: [&input.client, &input.server].map(Side::longest),
        sent: Vec::new(),
        prepared: Vec::new(),
    };
    let mut cuts = input.cuts.iter().copied().cycle();
    for step in input.steps.iter().take(12) {
        talk.send(step);
        if !step.keep {
            talk.pump(&mut cuts);
        }
    }
    talk.pump(&mut cuts);
    assert!(talk.expected.iter().all(VecDeque::is_empty));
    let [to_client, to_server] = &talk.carried;
    to_client.check(&input.server, false);
    to_server.check(&input.client, true);
});

impl Side {
    /// A few windows: whenever one is full, the compressor goes over all that it remembers.
    fn longest(&self) -> usize {
        (4_usize << self.window_bits).min(12_000)
    }

    fn connection(&self, role: Role, params: DeflateParams) -> Connection {
        let compression = Compression::dedicated()
            .level(self.level)
            .memory_level(self.memory_level)
            .threshold(self.threshold.into())
            .max_memory(self.max_memory.map(|bytes| bytes as usize));
        let config = Config::default()
            .max_message_size(None)
            .control_frame_rate(None)
            .fragment_size(self.fragment_size.map(|size| usize::from(size) + 1))
            .compression(compression);
        Connection::new(role, config, Instant::now()).deflate(params)
    }
}

struct Talk {
    server: Connection,
    client: Connection,
    /// What the client and the server are to see.
    expected: [VecDeque<Event>; 2],
    carried: [Carried; 2],
    /// What a message of either may have, in bytes.
    longest: [usize; 2],
    sent: Vec<Vec<u8>>,
    prepared: Vec<PreparedMessage>,
}

impl Talk {
    fn send(&mut self, step: &Step<'_>) {
        let outbound = self.outbound(step);
        let from_server = step.from_server;
        let sender = if from_server {
            &mut self.server
        } else {
            &mut self.client
        };
        let expected = &mut self.expected[usize::from(!from_server)];
        expected.push_back(Event::Message(outbound.clone().into_message()));
        sender.send(outbound).expect("the connection is open");
        if step.ping {
            assert_eq!(sender.ping(b"ping"), Ok(()));
            expected.push_back(Event::Ping("ping".into()));
        }
    }

    fn outbound(&mut self, step: &Step<'_>) -> Outbound {
        let mut payload = step.payload.bytes(&self.sent);
        payload.truncate(self.longest[usize::from(step.from_server)]);
        if step.is_text {
            payload = text(payload).into();
        }
        self.sent.push(payload.clone());
        let message = if step.is_text {
            Message::text(String::from_utf8(payload).expect("text"))
        } else {
            Message::binary(payload)
        };
        let prepared = match step.how {
            How::Usual => return message.into(),
            How::Compressed => return message.compressed(),
            How::Uncompressed => return message.uncompressed(),
            How::Prepared => PreparedMessage::new(message),
            How::PreparedCompressed => PreparedMessage::new(message.compressed()),
            How::PreparedEarlier(n) => match self.prepared.len() {
                0 => PreparedMessage::new(message),
                len => self.prepared[usize::from(n) % len].clone(),
            },
        };
        self.prepared.push(prepared.clone());
        prepared.into()
    }

    /// Carries what is queued from end to end.
    fn pump(&mut self, cuts: &mut impl Iterator<Item = u16>) {
        let [client, server] = &mut self.expected;
        let [to_client, to_server] = &mut self.carried;
        while to_client.carry(&mut self.server, &mut self.client, client, cuts)
            | to_server.carry(&mut self.client, &mut self.server, server, cuts)
        {}
    }
}

/// What went from one to the other.
#[derive(Default)]
struct Carried {
    wire: Vec<u8>,
    seen: Vec<Seen>,
}

impl Carried {
    /// Carries one cut from end to end; tells whether there was anything.
    fn carry(
        &mut self,
        from: &mut Connection,
        to: &mut Connection,
        expected: &mut VecDeque<Event>,
        cuts: &mut impl Iterator<Item = u16>,
    ) -> bool {
        let now = Instant::now();
        let Some(queue) = from.poll_transmit() else {
            return false;
        };
        let len = queue.remaining();
        // Much is carried in no more than a hundred steps.
        let least = len / 100 + 1;
        let len = len.min(cuts.next().map_or(usize::MAX, usize::from).max(least));
        let bytes = queue.copy_to_bytes(len);
        from.transmitted(now);
        self.wire.extend_from_slice(&bytes);
        to.receive(&bytes, now);
        assert_eq!(to.error(), None);
        while let Some(event) = to.poll_event() {
            self.seen.push(Seen::of(&event));
            if !matches!(event, Event::Pong(_)) {
                assert_eq!(Some(event), expected.pop_front());
            }
        }
        true
    }

    fn check(&self, sender: &Side, masked: bool) {
        let rules = Rules {
            masked,
            deflate: Some(Deflate {
                takeover: !sender.no_context_takeover,
                window_bits: sender.window_bits,
                strict: true,
            }),
            max_message_size: u64::MAX,
            max_frame_size: u64::MAX,
            max_fragments: u64::MAX,
        };
        let reading = frames::read(&self.wire, &rules);
        assert_eq!(reading.end, End::Open);
        assert_eq!(reading.seen, self.seen);
        assert_eq!(reading.rest, 0);
    }
}

impl Payload<'_> {
    fn bytes(&self, sent: &[Vec<u8>]) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.to_vec(),
            Self::Repeated(bytes, times) => bytes.repeat((*times).into()),
            Self::Noise(seed, len) => noise(*seed, (*len).into()),
            Self::Earlier(n, from, len) => {
                let Some(earlier) = sent.get(usize::from(*n) % sent.len().max(1)) else {
                    return Vec::new();
                };
                let from = usize::from(*from).min(earlier.len());
                let end = (from + usize::from(*len)).min(earlier.len());
                earlier[from..end].to_vec()
            }
        }
    }
}

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    });
    bytes.take(len).collect()
}
