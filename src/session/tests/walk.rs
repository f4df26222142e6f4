//! What both are made to do, and what they have in common.

use std::{
    fmt, mem,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use http::{HeaderMap, header::SEC_WEBSOCKET_EXTENSIONS};
use tokio::{task::yield_now, time};

use super::line::{Real, lock};
use crate::{
    config::Config,
    error::Error,
    handshake::{deflate, extensions},
    protocol::{
        CloseCode, CloseFrame, Connection, Deadline, Decoder, DeflateParams, Event, Message,
        Outbound, PreparedMessage, Role, State, random,
        test_support::{Random, from_client, from_server},
    },
    session::{Agreed, EndedBy, Setup},
};

/// A connection without I/O, and what it has done.
struct Model {
    connection: Connection,
    output: Vec<u8>,
    room: usize,
    events: Vec<Event>,
    ended_by: Option<EndedBy>,
    /// A deadline failed it.
    failed: bool,
    /// What was queued was thrown away.
    gave_up: bool,
}

/// Both, and what is done to them.
pub(super) struct Walk {
    seed: u64,
    random: Random,
    /// What all keys and the jitter are made of.
    chance: u8,
    /// How seldom anything arrives.
    silence: usize,
    /// Writes what the peer says.
    peer: Connection,
    frame: MakeFrame,
    pending: Vec<u8>,
    sent: usize,
    real: Real,
    model: Model,
    peer_config: Config,
    params: Option<DeflateParams>,
    peer_role: Role,
    /// What was done.
    steps: Vec<String>,
}

impl Model {
    /// Writes as much as there is room for.
    fn transmit(&mut self, now: Instant) {
        while let Some(queue) = self.connection.poll_transmit() {
            let len = queue.chunk().len().min(self.room);
            self.room -= len;
            self.output.extend_from_slice(&queue.copy_to_bytes(len));
            self.connection.transmitted(now);
            if len == 0 {
                return;
            }
        }
    }

    fn receive(&mut self, bytes: &[u8], now: Instant) {
        let open = self.connection.state() == State::Open;
        self.connection.receive(bytes, now);
        while let Some(event) = self.connection.poll_event() {
            if open && matches!(event, Event::Close(_)) {
                self.ended_by.get_or_insert(EndedBy::Peer);
            }
            self.events.push(event);
        }
        if open && self.connection.error().is_some() {
            self.ended_by.get_or_insert(EndedBy::Violation);
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Option<Deadline> {
        let due = self.connection.poll_timeout().is_some_and(|at| at <= now);
        let before = self.connection.state();
        let expiry = due.then(|| self.connection.handle_timeout(now)).flatten();
        if expiry.is_some() {
            if before == State::Open && self.connection.state() != State::Open {
                self.ended_by.get_or_insert(EndedBy::Timeout);
            }
            self.failed |= self.connection.is_finished();
            self.gave_up |= self.connection.state() == State::Closed;
        }
        expiry
    }
}

/// Makes a frame of the peer's, of a first byte and a payload.
type MakeFrame = fn(u8, &[u8]) -> Vec<u8>;

impl Walk {
    pub(super) fn new(
        seed: u64,
        role: Role,
        config: Config,
        mut random: Random,
        inside: bool,
    ) -> Self {
        let chance = random.number() as u8;
        let (setup, peer_role, frame) = match role {
            Role::Server => (Setup::server(), Role::Client, from_client as MakeFrame),
            Role::Client => (Setup::client(), Role::Server, from_server as MakeFrame),
        };
        let setup = Setup {
            config: config.clone(),
            ..setup
        };
        let agreement = agree(&config);
        let params = agreement.as_ref().map(deflate::Agreement::params);
        let agreed = Agreed::default().deflate(&setup, agreement);
        random::repeat(chance);
        let mut real = Real::new(setup, agreed, inside);
        real.run();
        random::repeat(chance);
        let now = now();
        let mut walk = Self {
            seed,
            silence: [2, 2, 30][random.below(3)],
            random,
            chance,
            peer: Connection::new(peer_role, config.clone(), now),
            frame,
            pending: Vec::new(),
            sent: 0,
            real,
            model: Model {
                connection: Connection::new(role, config.clone(), now),
                output: Vec::new(),
                room: 0,
                events: Vec::new(),
                ended_by: None,
                failed: false,
                gave_up: false,
            },
            peer_config: config,
            params,
            peer_role,
            steps: Vec::new(),
        };
        if let Some(params) = walk.params {
            let model = mem::replace(&mut walk.model.connection, walk.peer);
            walk.model.connection = model.deflate(params);
            random::repeat(chance);
            walk.peer = Connection::new(peer_role, walk.peer_config.clone(), now).deflate(params);
        }
        walk
    }

    pub(super) fn state(&self) -> State {
        self.model.connection.state()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.model.connection.is_finished()
    }

    /// Does one thing to both.
    pub(super) async fn step(&mut self) {
        let now = now();
        // A peer that says little is waited for.
        let most = if self.silence > 2 { 28 } else { 16 };
        match self.random.below(most) {
            0..4 => self.say(),
            4..6 => {}
            6..9 => self.send(),
            9 => self.control(),
            10..12 => self.give_room(),
            12 if self.random.below(2) == 0 => self.close(),
            _ => return self.pass_time().await,
        }
        if self.random.below(self.silence) == 0 {
            self.feed(now);
        }
        self.transmit(now);
    }

    /// The peer says something, which is on its way then.
    fn say(&mut self) {
        let frame = self.frame;
        let other = |first, payload: &[u8]| {
            let other = [from_client as MakeFrame, from_server];
            other[usize::from(frame(0x81, b"") == from_client(0x81, b""))](first, payload)
        };
        let said = match self.random.below(24) {
            0..4 => frame(0x81, "wörld".as_bytes()),
            4..8 => {
                let len = self.random.below(300);
                let message = Message::text("abc".repeat(len));
                let _sent = self.peer.send(message);
                let mut said = Vec::new();
                while let Some(queue) = self.peer.poll_transmit() {
                    let len = queue.remaining();
                    said.extend_from_slice(&queue.copy_to_bytes(len));
                    self.peer.transmitted(now());
                }
                said
            }
            8..10 => [
                frame(0x01, b"Hel"),
                frame(0x89, b"between"),
                frame(0x00, b""),
                frame(0x80, b"lo"),
            ]
            .concat(),
            10..14 => {
                let len = self.random.below(126);
                frame(0x89, &vec![b'p'; len])
            }
            14..16 => frame(0x8a, b"pong"),
            16 => frame(0x89, &[1; 125]).repeat(9),
            17 => frame(0x88, [&b"\x03\xe9bye"[..], b""][self.random.below(2)]),
            18 if self.random.below(3) > 0 => frame(0x82, &[7; 900]),
            _ if self.random.below(5) > 0 => frame(0x82, b"binary"),
            18 => frame(0x82, &[7; 901]),
            19 => frame(0x81, b"\xff"),
            20 => frame(0x80, b"nothing begun"),
            21 => frame(0x88, b"\x03\xed"),
            22 => other(0x81, b"masked or not"),
            _ => frame(0x83, b"reserved"),
        };
        self.steps
            .push(format!("the peer says {} bytes", said.len()));
        self.pending.extend(said);
    }

    /// Some of what is on its way arrives.
    fn feed(&mut self, now: Instant) {
        let most = [5, 50, 1300][self.random.below(3)];
        let len = self.random.below(most).min(self.pending.len());
        let bytes: Vec<u8> = self.pending.drain(..len).collect();
        if !bytes.is_empty() {
            self.arrive(&bytes, now);
        }
    }

    pub(super) fn arrive(&mut self, bytes: &[u8], now: Instant) {
        self.steps.push(format!("{bytes:x?} arrive"));
        self.real.change(|wire| wire.input.extend_from_slice(bytes));
        self.model.receive(bytes, now);
    }

    fn send(&mut self) {
        let len = [5, 60, 300][self.random.below(3)];
        let text = "€".repeat(self.random.below(len));
        if self.sent + 2 * text.len() + 20 > MOST_SENT {
            return;
        }
        self.sent += text.len() + 20;
        let message = Message::text(text);
        let outbound: Outbound = match self.random.below(4) {
            0 => message.compressed(),
            1 => message.uncompressed(),
            2 => PreparedMessage::new(message).into(),
            _ => message.into(),
        };
        self.steps.push(format!("{outbound:?} is sent"));
        random::repeat(self.chance);
        let sent = outbound.clone();
        let real = self.real.does(move |sender| sender.try_send(sent).is_ok());
        random::repeat(self.chance);
        let model = self.model.connection.send(outbound).is_ok();
        self.equal("sending", real, model);
        self.transmit_what_was_done();
    }

    fn control(&mut self) {
        self.steps.push("a ping, or a pong".into());
        let pings = self.random.below(2) == 0;
        random::repeat(self.chance);
        let real = self.real.does(move |sender| {
            let sent = if pings {
                sender.ping("ours")
            } else {
                sender.pong("ours")
            };
            sent.is_ok()
        });
        random::repeat(self.chance);
        let connection = &mut self.model.connection;
        let model = if pings {
            connection.ping(b"ours").is_ok()
        } else {
            connection.pong(b"ours").is_ok()
        };
        self.equal("a control frame", real, model);
        self.transmit_what_was_done();
    }

    pub(super) fn close(&mut self) {
        self.steps.push("a close".into());
        let frame = CloseFrame::new(CloseCode::NORMAL, "bye");
        random::repeat(self.chance);
        let closed = frame.clone();
        self.real.does(move |sender| sender.close(closed));
        random::repeat(self.chance);
        if self.model.connection.close(frame).is_ok() {
            self.model.ended_by.get_or_insert(EndedBy::Local);
        }
        self.transmit_what_was_done();
    }

    /// Where the handler did something, it had its turn, which ends with a write.
    fn transmit_what_was_done(&mut self) {
        if self.real.is_inside() {
            self.transmit(now());
        }
    }

    /// The transport takes some more, or whatever comes.
    fn give_room(&mut self) {
        let closing = self.model.connection.state() != State::Open;
        let room = match self.random.below(3) {
            _ if closing && self.random.below(4) > 0 => return,
            0 if !closing => self.random.below(200),
            1 if !closing => 0,
            _ => usize::MAX,
        };
        self.take(room);
    }

    /// Has the transport take so much.
    pub(super) fn take(&mut self, room: usize) {
        self.steps.push(format!("the transport takes {room} bytes"));
        self.real.change(|wire| wire.room = room);
        self.model.room = room;
    }

    async fn pass_time(&mut self) {
        let most = [20, 500, 9000 / self.silence][self.random.below(3)];
        let milliseconds = 1 + self.random.below(most) as u64;
        self.wait(milliseconds).await;
    }

    pub(super) async fn wait(&mut self, milliseconds: u64) {
        self.steps.push(format!("{milliseconds} ms pass"));
        time::advance(Duration::from_millis(milliseconds)).await;
        yield_now().await;
        let now = now();
        let expiry = self.model.handle_timeout(now);
        self.steps.push(format!("there is {expiry:?}"));
        self.transmit(now);
    }

    pub(super) fn transmit(&mut self, now: Instant) {
        random::repeat(self.chance);
        self.model.transmit(now);
        random::repeat(self.chance);
        self.real.run();
        let closing = self.model.connection.state() != State::Open;
        if closing && (1..1 << 20).contains(&self.model.room) {
            // How long a Close may leave little by little is up to the session.
            self.real.change(|wire| wire.room = usize::MAX);
            self.model.room = usize::MAX;
            self.transmit(now);
        }
    }

    /// Sees that both have done the same so far.
    pub(super) fn compare(&self) {
        let output = self.real.wire().output.clone();
        let pairs = output.iter().zip(&self.model.output);
        let same = pairs.take_while(|(real, model)| real == model).count();
        if self.model.connection.error().is_some() {
            self.compare_failed(&output);
        } else {
            let rest = (&output[same..], &self.model.output[same..]);
            self.equal("what was sent", rest.0, rest.1);
        }
        let events = lock(&self.real.events);
        // A handler that is lent messages sees no control frames.
        let seen = |event: &&Event| !self.real.is_inside() || matches!(event, Event::Message(_));
        let model: Vec<_> = self.model.events.iter().filter(seen).collect();
        let same = events.len().min(model.len()).saturating_sub(1);
        let (real, model): (Vec<_>, _) = (events[same..].iter().collect(), model[same..].to_vec());
        self.equal("what was delivered", real, model);
        let (real, model) = (self.real.sender.state(), self.model.connection.state());
        self.equal("the state", real, model);
    }

    /// Sees that both have sent the same frames, wherever the Close is among the pongs: a session lets
    /// what it has to say to what came before leave before it fails.
    fn compare_failed(&self, output: &[u8]) {
        let [real, model] = [output, &self.model.output].map(|output| {
            let mut events = self.sent_events(output);
            events.sort_by_key(|event| matches!(event, Event::Close(_)));
            events
        });
        self.equal("what was sent before it failed", real, model);
    }

    /// Lets all that waits leave, ends the stream, and compares the reports.
    pub(super) fn end(mut self) -> EndedBy {
        let now = now();
        self.steps.push("the end".into());
        self.real.change(|wire| wire.room = usize::MAX);
        self.model.room = usize::MAX;
        self.transmit(now);
        self.real.change(|wire| wire.ended = true);
        self.model.connection.receive_eof();
        self.transmit(now);
        self.compare();
        assert!(self.real.is_over(), "seed {}: it goes on", self.seed);
        self.compare_ends()
    }

    /// Compares the reports; returns what ended both.
    fn compare_ends(&self) -> EndedBy {
        let report = lock(&self.real.report).take();
        let report = report.expect("a session that is over has made its report");
        let connection = &self.model.connection;
        let traffic = [
            report.messages_received,
            report.bytes_received,
            report.messages_sent,
            report.bytes_sent,
        ];
        self.equal("the counts", traffic, connection.traffic());
        let ended_by = self.model.ended_by.unwrap_or(EndedBy::Disconnect);
        self.equal("what ended it", report.ended_by, ended_by);
        let clean = connection.is_clean() && !self.model.gave_up;
        self.equal("whether it was clean", report.clean, clean);
        let result = lock(&self.real.result).take();
        let failed = matches!(result, Some(Err(Error::Timeout(_))));
        self.equal("whether a deadline failed it", failed, self.model.failed);
        let error = match result {
            Some(Err(Error::Protocol(error))) => Some(error),
            _ => None,
        };
        self.equal("the violation", error.as_ref(), connection.error());
        let code = match (self.model.ended_by, &self.sent_close()) {
            (Some(EndedBy::Peer), Some(None)) => Some(1005),
            (_, Some(Some(frame))) => Some(frame.code().as_u16()),
            (None, None) => Some(1006),
            // It was thrown away.
            _ => None,
        };
        if let Some(code) = code {
            self.equal("the close code", report.close_code, code);
        }
        ended_by
    }

    /// The Close frame that was sent, if one was.
    fn sent_close(&self) -> Option<Option<CloseFrame>> {
        let events = self.sent_events(&self.model.output).into_iter();
        let mut closes = events.filter_map(|event| match event {
            Event::Close(frame) => Some(frame),
            _ => None,
        });
        closes.next()
    }

    /// What the peer makes of what was sent.
    fn sent_events(&self, output: &[u8]) -> Vec<Event> {
        let mut decoder = Decoder::new(self.peer_role, &Config::default());
        if let Some(params) = self.params {
            decoder = decoder.deflate(params);
        }
        let mut output = BytesMut::from(output);
        let mut events = Vec::new();
        while let Some(event) = decoder.decode(&mut output).expect("valid frames") {
            events.push(event);
        }
        events
    }

    #[track_caller]
    fn equal<T: PartialEq + fmt::Debug>(&self, what: &str, session: T, connection: T) {
        assert!(
            session == connection,
            "seed {}: {what} differs after {:#?}\n   session: {session:x?}\nconnection: {connection:x?}",
            self.seed,
            &self.steps[self.steps.len().saturating_sub(9)..],
        );
    }
}

pub(super) fn now() -> Instant {
    time::Instant::now().into_std()
}

/// What a server agrees on with a client that has the same settings.
fn agree(config: &Config) -> Option<deflate::Agreement> {
    let settings = config.compression.as_ref()?;
    let mut headers = HeaderMap::new();
    headers.insert(SEC_WEBSOCKET_EXTENSIONS, deflate::offer(settings));
    deflate::accept(&extensions::parse(&headers).unwrap_or_default(), settings)
}

/// How much one walk sends, in bytes: what takes a second is no longer on its way then.
const MOST_SENT: usize = 8 << 10;
