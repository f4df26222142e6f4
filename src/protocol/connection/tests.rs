//! The closing handshake, deadlines, and two connections talking to each other.

use std::time::Duration;

use bytes::Buf;

use super::*;
use crate::protocol::{close::CloseCode, decoder::Decoder, message::Message, test_support::*};

fn quiet() -> Config {
    Config::default()
        .ping_interval(None)
        .control_frame_rate(None)
}

fn server(config: Config) -> (Connection, Instant) {
    let now = Instant::now();
    (Connection::new(Role::Server, config, now), now)
}

/// All that waits, as if the socket took it at once.
fn written(connection: &mut Connection, now: Instant) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(queue) = connection.poll_transmit() {
        let len = queue.remaining();
        bytes.extend_from_slice(&queue.copy_to_bytes(len));
        connection.transmitted(now);
    }
    bytes
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    from_server(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// The code of the one Close frame a server has written, which is the last thing.
fn close_code(written: &[u8]) -> Option<u16> {
    let (events, error) = decode_all(&mut Decoder::new(Role::Client, &quiet()), [written]);
    assert_eq!(error, None);
    let closes = events
        .iter()
        .filter(|event| matches!(event, Event::Close(_)))
        .count();
    assert!(closes <= 1, "one Close frame ever");
    match events.last()? {
        Event::Close(frame) => frame.as_ref().map(|frame| frame.code().as_u16()),
        _ => None,
    }
}

const BYE: (CloseCode, &str) = (CloseCode::NORMAL, "bye");

#[test]
fn ping_is_answered_with_pong() {
    let (mut server, now) = server(quiet());
    server.receive(&from_client(0x89, b"Hello"), now);
    assert_eq!(events(&mut server), [Event::Ping("Hello".into())]);
    assert_eq!(written(&mut server, now), from_server(0x8a, b"Hello"));
}

#[test]
fn ping_inside_a_message_is_answered_before_the_message_ends() {
    let (mut server, now) = server(quiet());
    server.receive(
        &[from_client(0x01, b"Hel"), from_client(0x89, b"")].concat(),
        now,
    );
    assert_eq!(written(&mut server, now), from_server(0x8a, b""));
    server.receive(&from_client(0x80, b"lo"), now);
    let expected = [Event::Ping("".into()), Event::Message("Hello".into())];
    assert_eq!(events(&mut server), expected);
}

#[test]
fn peer_closes_and_is_answered_with_its_code() {
    let (mut server, now) = server(quiet());
    server.receive(&from_client(0x88, b"\x03\xe9bye"), now);
    let frame = CloseFrame::new(CloseCode::GOING_AWAY, "bye");
    assert_eq!(events(&mut server), [Event::Close(Some(frame))]);
    assert_eq!(server.state(), State::Closing);
    assert!(server.is_finished() && server.is_clean());
    assert_eq!(written(&mut server, now), close_frame(1001, "bye"));
    server.receive_eof();
    assert_eq!(server.state(), State::Closed);
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn we_close_and_the_peer_answers() {
    let (mut server, now) = server(quiet());
    assert_eq!(server.close(BYE), Ok(()));
    assert_eq!(server.state(), State::Closing);
    assert_eq!(written(&mut server, now), close_frame(1000, "bye"));
    assert!(!server.is_finished() && !server.is_clean());
    server.receive(&from_client(0x88, b"\x03\xe8"), now);
    assert_eq!(
        events(&mut server),
        [Event::Close(Some(CloseCode::NORMAL.into()))]
    );
    assert!(server.is_finished() && server.is_clean());
    assert_eq!(written(&mut server, now), b"");
}

#[test]
fn we_close_without_a_code() {
    let (mut server, now) = server(quiet());
    assert_eq!(server.close_without_code(), Ok(()));
    assert_eq!(server.close(BYE), Err(NotOpen));
    assert_eq!(written(&mut server, now), from_server(0x88, b""));
    server.receive(&from_client(0x88, b""), now);
    assert_eq!(events(&mut server), [Event::Close(None)]);
    assert!(server.is_clean());
}

#[test]
fn both_close_at_once() {
    for written_first in [true, false] {
        let (mut server, now) = server(quiet());
        assert_eq!(server.close(BYE), Ok(()));
        let mut bytes = if written_first {
            written(&mut server, now)
        } else {
            vec![]
        };
        server.receive(&from_client(0x88, b"\x03\xe9"), now);
        bytes.extend(written(&mut server, now));
        assert_eq!(bytes, close_frame(1000, "bye"));
        assert!(server.is_clean());
    }
}

#[test]
fn one_close_frame_is_sent_ever() {
    let now = Instant::now();
    let close: fn(&mut Connection, Instant) = |server, _| {
        let _first_counts = server.close(BYE);
    };
    let receive_close: fn(&mut Connection, Instant) =
        |server, now| server.receive(&from_client(0x88, b""), now);
    let violate: fn(&mut Connection, Instant) = |server, now| server.receive(HELLO, now);
    let expire: fn(&mut Connection, Instant) = |server, now| {
        server.handle_timeout(now + Duration::from_secs(1 << 20));
    };
    let steps = [close, receive_close, violate, expire];
    for order in 0..4_usize.pow(3) {
        let config = quiet()
            .max_lifetime(Duration::from_secs(9))
            .write_timeout(None);
        let mut server = Connection::new(Role::Server, config, now);
        for step in [order % 4, order / 4 % 4, order / 16] {
            steps[step](&mut server, now);
        }
        let bytes = written(&mut server, now);
        let closes = decode_all(&mut Decoder::new(Role::Client, &quiet()), [&bytes[..]]).0;
        assert_eq!(closes.len(), 1, "{order}: {closes:?}");
        assert!(matches!(closes[0], Event::Close(_)));
    }
}

#[test]
fn after_our_close_pings_are_answered_and_nothing_else_is_sent() {
    let (mut server, now) = server(quiet());
    assert_eq!(server.send("before"), Ok(()));
    assert_eq!(server.close(BYE), Ok(()));
    assert_eq!(server.send("after"), Err(NotOpen));
    assert_eq!(server.ping(b""), Err(NotOpen));
    assert_eq!(server.pong(b""), Err(NotOpen));
    assert_eq!(server.close(BYE), Err(NotOpen));
    server.receive(&from_client(0x89, b"ping"), now);
    let expected = [
        from_server(0x81, b"before"),
        close_frame(1000, "bye"),
        from_server(0x8a, b"ping"),
    ];
    assert_eq!(written(&mut server, now), expected.concat());
}

#[test]
fn messages_before_the_answer_to_our_close_are_dropped() {
    let (mut server, now) = server(quiet());
    server.close(BYE).expect("it is open");
    server.receive(
        &[from_client(0x81, b"late"), from_client(0x88, b"")].concat(),
        now,
    );
    assert_eq!(events(&mut server), [Event::Close(None)]);
}

#[test]
fn messages_before_the_peers_close_are_delivered() {
    let (mut server, now) = server(quiet());
    server.receive(
        &[from_client(0x81, b"last"), from_client(0x88, b"")].concat(),
        now,
    );
    let expected = [Event::Message("last".into()), Event::Close(None)];
    assert_eq!(events(&mut server), expected);
}

#[test]
fn nothing_is_processed_after_a_close() {
    let (mut server, now) = server(quiet());
    server.receive(
        &[from_client(0x88, b""), from_client(0x89, b"")].concat(),
        now,
    );
    server.receive(&from_client(0x89, b""), now);
    server.receive(HELLO, now);
    assert_eq!(events(&mut server), [Event::Close(None)]);
    assert_eq!(server.error(), None);
    assert_eq!(written(&mut server, now), from_server(0x88, b""));
}

#[test]
fn broken_rules_fail_the_connection_with_their_code() {
    let big = vec![0; 101];
    for (frame, code) in [
        (HELLO.to_vec(), 1002),
        (from_client(0xc1, b""), 1002),
        (from_client(0x83, b""), 1002),
        (from_client(0x80, b""), 1002),
        (from_client(0x88, b"\x03"), 1002),
        (from_client(0x88, b"\x03\xed"), 1002),
        (from_client(0x81, b"\xff"), 1007),
        (from_client(0x88, b"\x03\xe8\xff"), 1007),
        (from_client(0x82, &big), 1009),
    ] {
        let (mut server, now) = server(quiet().max_message_size(100));
        let bytes = [from_client(0x81, b"ok"), frame, from_client(0x89, b"late")].concat();
        server.receive(&bytes, now);
        server.receive(&from_client(0x89, b"later"), now);
        assert_eq!(events(&mut server), [Event::Message("ok".into())]);
        assert!(server.is_finished() && !server.is_clean());
        assert_eq!(
            server.error().map(|error| error.close_code().as_u16()),
            Some(code)
        );
        assert_eq!(close_code(&written(&mut server, now)), Some(code));
    }
}

#[test]
fn too_many_control_frames_fail_the_connection() {
    for first in [0x89, 0x8a] {
        let (mut server, now) = server(Config::default());
        server.receive(&from_client(first, b"").repeat(200), now);
        assert_eq!((events(&mut server).len(), server.error()), (200, None));
        server.receive(&from_client(first, b""), now);
        assert_eq!(
            server.error(),
            Some(&ProtocolError::ControlFlood { rate: 100 })
        );
        assert_eq!(close_code(&written(&mut server, now)), Some(1008));
    }
}

#[test]
fn end_without_a_close_is_not_clean() {
    let (mut server, now) = server(Config::default());
    server.receive(&from_client(0x01, b"begun"), now);
    server.receive_eof();
    assert_eq!(server.state(), State::Closed);
    assert!(server.is_finished() && !server.is_clean());
    assert_eq!((server.poll_event(), server.poll_timeout()), (None, None));
    assert_eq!(server.send("late"), Err(NotOpen));
    server.receive(&from_client(0x80, b""), now);
    assert_eq!(server.poll_event(), None);
}

#[test]
fn pings_are_sent_by_themselves_and_a_silent_peer_is_found() {
    let second = Duration::from_secs(1);
    let config = Config::default()
        .ping_interval(10 * second)
        .ping_timeout(20 * second);
    let (mut server, start) = server(config);
    let mut ended = None;
    let mut now = start;
    while ended.is_none() {
        now = server.poll_timeout().expect("a deadline");
        ended = server.handle_timeout(now);
        if ended.is_none() {
            assert_is_ping(&written(&mut server, now));
        }
    }
    assert_eq!(ended, Some(Deadline::PeerSilent));
    assert!(
        (29 * second..=31 * second).contains(&(now - start)),
        "{:?}",
        now - start
    );
    assert!(server.is_finished());
    assert_eq!(close_code(&written(&mut server, now)), Some(1011));
}

/// A ping of the connection's own has eight random bytes.
fn assert_is_ping(frame: &[u8]) {
    assert!(
        frame.len() == 10 && frame.starts_with(b"\x89\x08"),
        "{frame:?}"
    );
}

#[test]
fn answering_peer_keeps_the_connection_open() {
    let second = Duration::from_secs(1);
    let config = Config::default()
        .ping_interval(10 * second)
        .ping_timeout(5 * second);
    let (mut server, _) = server(config);
    for _ in 0..100 {
        let now = server.poll_timeout().expect("a deadline");
        assert_eq!(server.handle_timeout(now), None);
        let left = written(&mut server, now);
        if !left.is_empty() {
            assert_is_ping(&left);
            server.receive(&from_client(0x8a, &left[2..]), now + second);
        }
        assert_eq!(server.state(), State::Open);
    }
}

#[test]
fn ping_that_leaves_after_the_end_is_not_waited_for() {
    let (mut server, _) = server(Config::default());
    let now = server.poll_timeout().expect("the ping");
    assert_eq!(server.handle_timeout(now), None);
    server.receive_eof();
    assert_is_ping(&written(&mut server, now));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn first_message_in_time_is_noticed() {
    let limit = Duration::from_secs(60);
    let (mut server, now) = server(quiet().first_message_timeout(limit).idle_timeout(limit));
    server.receive(&from_client(0x81, b"first"), now);
    assert_eq!(server.handle_timeout(now + limit), None);
    assert_eq!(server.handle_timeout(now + 2 * limit), Some(Deadline::Idle));
}

#[test]
fn paused_reading_is_not_held_against_the_peer() {
    let second = Duration::from_secs(1);
    let config = Config::default()
        .ping_interval(10 * second)
        .ping_timeout(5 * second);
    let (mut server, now) = server(config.frame_timeout(9 * second));
    server.receive(&from_client(0x82, &[0; 10])[..9], now);
    let ping = server.poll_timeout().expect("the frame's deadline");
    assert_eq!(ping, now + 9 * second);
    server.receive_paused(now);
    let ping = server.poll_timeout().expect("the ping");
    assert_eq!(server.handle_timeout(ping), None);
    written(&mut server, ping);
    server.receive_paused(ping);
    assert_eq!(server.handle_timeout(ping + 5 * second), None);
    assert_eq!(server.state(), State::Open);
    // Nothing was read for another whole timeout, and nothing says why.
    server.handle_timeout(ping + 10 * second);
    assert!(server.is_finished());
}

#[test]
fn unfinished_frame_ends_at_its_deadline() {
    let second = Duration::from_secs(1);
    for (bytes, watched) in [
        (&from_client(0x82, &[0; 10])[..1], true),
        (&from_client(0x82, &[0; 10])[..9], true),
        (&from_client(0x89, &[0; 10])[..9], true),
        (&from_client(0x02, &[0; 10])[..], false),
        (&from_client(0x82, &[0; 10])[..], false),
    ] {
        let (mut server, now) = server(quiet().frame_timeout(30 * second));
        server.receive(bytes, now);
        assert_eq!(server.poll_timeout(), watched.then_some(now + 30 * second));
        let expiry = server.handle_timeout(now + 30 * second);
        assert_eq!(expiry, watched.then_some(Deadline::Frame));
        let code = close_code(&written(&mut server, now));
        assert_eq!(
            (server.is_finished(), code),
            (watched, watched.then_some(1008))
        );
    }
}

#[test]
fn old_and_idle_connections_are_closed_with_a_handshake() {
    let limit = Duration::from_secs(60);
    for (config, expiry, code) in [
        (quiet().max_lifetime(limit), Deadline::Lifetime, 1001),
        (quiet().idle_timeout(limit), Deadline::Idle, 1001),
        (
            quiet().first_message_timeout(limit),
            Deadline::FirstMessage,
            1008,
        ),
    ] {
        let (mut server, start) = server(config);
        let now = start + limit;
        assert_eq!(server.poll_timeout(), Some(now));
        assert_eq!(server.handle_timeout(now), Some(expiry));
        assert_eq!(
            (server.state(), server.is_finished()),
            (State::Closing, false)
        );
        assert_eq!(close_code(&written(&mut server, now)), Some(code));
        server.receive(&from_client(0x88, b""), now);
        assert!(server.is_clean());
    }
}

#[test]
fn peer_that_does_not_answer_our_close_is_given_up() {
    let (mut server, now) = server(Config::default().max_lifetime(Duration::from_secs(6)));
    server.close(BYE).expect("it is open");
    written(&mut server, now);
    // T14: data without end does not put it off, nor does being asked again.
    for second in 0..5 {
        let now = now + Duration::from_secs(second);
        server.receive(&from_client(0x82, &[0; 1000]), now);
        server.transmitted(now);
        assert_eq!(server.handle_timeout(now), None);
    }
    let deadline = now + Duration::from_secs(5);
    assert_eq!(server.poll_timeout(), Some(deadline));
    assert_eq!(server.handle_timeout(deadline), Some(Deadline::Close));
    assert_eq!(
        (server.state(), server.is_finished()),
        (State::Closed, true)
    );
    assert!(!server.is_clean());
    assert_eq!((server.poll_event(), server.poll_timeout()), (None, None));
}

#[test]
fn peer_that_does_not_end_the_stream_is_given_up() {
    let (mut server, now) = server(Config::default());
    server.receive(&from_client(0x88, b""), now);
    written(&mut server, now);
    let deadline = now + Duration::from_secs(5);
    assert_eq!(server.poll_timeout(), Some(deadline));
    assert_eq!(server.handle_timeout(deadline), Some(Deadline::Close));
    assert!(server.state() == State::Closed && server.is_clean());
}

#[test]
fn blocked_write_is_given_up_and_its_queue_thrown_away() {
    let (mut server, now) = server(quiet());
    assert_eq!(server.send(vec![0; 10_000]), Ok(()));
    assert_eq!(server.close(BYE), Ok(()));
    // The socket takes nothing: told again and again, the deadline stands.
    for second in 0..10 {
        assert!(server.poll_transmit().is_some());
        server.transmitted(now + Duration::from_secs(second));
    }
    let deadline = now + Duration::from_secs(10);
    assert_eq!(server.poll_timeout(), Some(deadline));
    assert_eq!(server.handle_timeout(deadline), Some(Deadline::Write));
    assert_eq!(
        (server.state(), server.is_finished()),
        (State::Closed, true)
    );
    assert!(server.poll_transmit().is_none());
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn write_that_goes_on_slowly_is_not_given_up() {
    let (mut server, start) = server(quiet());
    assert_eq!(server.send(vec![0; 1000]), Ok(()));
    let mut now = start;
    while let Some(queue) = server.poll_transmit() {
        queue.advance(1);
        now += Duration::from_secs(9);
        assert_eq!(server.handle_timeout(now), None);
        server.transmitted(now);
    }
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn finished_connection_has_no_deadlines_of_the_open_one() {
    let config = Config::default().idle_timeout(Duration::from_secs(1));
    let config = config.max_lifetime(Duration::from_secs(2));
    let ends: [fn(&mut Connection, Instant); 3] = [
        |server, now| {
            // The rest of the frame, a Close, and the beginning of more.
            server.receive(&from_client(0x81, &[0; 10])[9..], now);
            server.receive(&[&from_client(0x88, b"")[..], b"\x82"].concat(), now);
        },
        |server, now| server.receive(b"\xc2", now), // unmasked 0xff
        |server, _| server.receive_eof(),
    ];
    for end in ends {
        let (mut server, now) = server(config.clone());
        server.receive(&from_client(0x81, &[0; 10])[..9], now);
        end(&mut server, now);
        assert_eq!(server.poll_timeout(), None);
        assert_eq!(
            server.handle_timeout(now + Duration::from_secs(1 << 20)),
            None
        );
    }
}

/// Two connections, what is on the way between them, and a clock.
struct Pair {
    ends: [Connection; 2],
    wires: [Vec<u8>; 2],
    now: Instant,
    random: Random,
    sent: [Vec<Message>; 2],
    received: [Vec<Event>; 2],
    closes: [usize; 2],
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let now = Instant::now();
        let mut end = |role| {
            let size = 1 + random.below(9000);
            // Many pings, and no deadline that an unlucky walk of at most 90 s could miss.
            let config = Config::default()
                .fragment_size(size.checked_sub(4000))
                .ping_interval(Duration::from_secs(1))
                .ping_timeout(Duration::from_secs(100))
                .frame_timeout(Duration::from_secs(100))
                .write_timeout(Duration::from_secs(100));
            Connection::new(role, config, now)
        };
        Self {
            ends: [end(Role::Client), end(Role::Server)],
            wires: [vec![], vec![]],
            now,
            random,
            sent: [vec![], vec![]],
            received: [vec![], vec![]],
            closes: [0, 0],
        }
    }

    fn step(&mut self, closing: bool) {
        let end = self.random.below(2);
        match self.random.below(7) {
            0 if !closing => self.send(end),
            1 if !closing => {
                let _closing = self.ends[end].ping(b"ping");
            }
            2 => {
                self.now += Duration::from_millis(self.random.number() % 300);
                for end in &mut self.ends {
                    let _expiry = end.handle_timeout(self.now);
                }
            }
            3 | 4 => self.transmit(end),
            _ => self.deliver(end),
        }
    }

    fn send(&mut self, end: usize) {
        let len = self
            .random
            .below([10, 300, 20_000][self.random.clone().below(3)]);
        let message = if self.random.below(2) == 0 {
            Message::text("€".repeat(len / 3))
        } else {
            Message::binary(self.random.bytes(len))
        };
        if self.ends[end].send(message.clone()).is_ok() {
            self.sent[end].push(message);
        }
    }

    /// Some of what waits leaves.
    fn transmit(&mut self, end: usize) {
        if let Some(queue) = self.ends[end].poll_transmit() {
            let len = self.random.below(queue.remaining() + 1);
            self.wires[end].extend_from_slice(&queue.copy_to_bytes(len));
            self.ends[end].transmitted(self.now);
        }
    }

    /// Some of what is on the way to the other end arrives.
    fn deliver(&mut self, end: usize) {
        let len = self.random.below(self.wires[end].len() + 1);
        let bytes: Vec<u8> = self.wires[end].drain(..len).collect();
        let other = 1 - end;
        self.ends[other].receive(&bytes, self.now);
        while let Some(event) = self.ends[other].poll_event() {
            self.closes[other] += usize::from(matches!(event, Event::Close(_)));
            self.received[other].push(event);
        }
    }

    fn settle(&mut self) {
        for _ in 0..100_000 {
            if self
                .ends
                .iter()
                .all(|end| end.is_finished() && end.outgoing.queued() == 0)
            {
                return;
            }
            // No time passes: only what was sent has to arrive.
            let end = self.random.below(2);
            self.transmit(end);
            self.deliver(end);
        }
        panic!("the closing handshake does not come to its end");
    }

    fn messages(&self, end: usize) -> Vec<Message> {
        let messages = self.received[end].iter().filter_map(|event| match event {
            Event::Message(message) => Some(message.clone()),
            _ => None,
        });
        messages.collect()
    }
}

#[test]
fn random_conversations_arrive_in_order_and_close_cleanly() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed);
        for _ in 0..300 {
            pair.step(false);
        }
        let closer = pair.random.below(3);
        for end in (0..2).filter(|end| closer == 2 || closer == *end) {
            let _closing = pair.ends[end].close(BYE);
        }
        for _ in 0..pair.random.below(20) {
            pair.transmit(closer % 2);
        }
        pair.settle();
        for end in 0..2 {
            let connection = &pair.ends[end];
            assert_eq!(connection.error(), None, "seed {seed}");
            assert!(connection.is_clean(), "seed {seed}");
            assert_eq!(pair.closes[end], 1, "seed {seed}");
            let (sent, received) = (&pair.sent[1 - end], pair.messages(end));
            // Whoever closed does not look at messages any more.
            assert!(sent.starts_with(&received), "seed {seed}");
            assert!(
                closer == 2 || closer == end || *sent == received,
                "seed {seed}"
            );
        }
    }
}

#[test]
fn any_cutting_of_the_input_gives_the_same_connection() {
    let bytes = [
        from_client(0x81, "wörld".as_bytes()),
        from_client(0x89, b"1"),
        from_client(0x02, b"a"),
        from_client(0x89, b"2"),
        from_client(0x80, b"b"),
        from_client(0x88, b"\x03\xe8bye"),
        from_client(0x89, b"late"),
    ]
    .concat();
    let outcome = |pieces: &[&[u8]]| {
        let (mut server, now) = server(quiet());
        pieces.iter().for_each(|piece| server.receive(piece, now));
        let written = written(&mut server, now);
        (
            events(&mut server),
            written,
            server.state(),
            server.is_clean(),
        )
    };
    let whole = outcome(&[&bytes]);
    assert_eq!(whole.0.len(), 5);
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        assert_eq!(outcome(&[first, second]), whole, "cut at {cut}");
    }
    assert_eq!(outcome(&bytes.chunks(1).collect::<Vec<_>>()), whole);
}
