//! What is counted, answered and given away.

use std::time::Duration;

use super::*;
use crate::protocol::{decoder::take_plain, message::Message, test_support::from_client};

/// A server that receives, with what it sends.
struct End {
    config: Config,
    encoder: Encoder,
    incoming: Incoming,
    outgoing: Outgoing,
    timers: Timers,
    start: Instant,
}

impl End {
    fn new(config: Config) -> Self {
        let start = Instant::now();
        Self {
            encoder: Encoder::new(Role::Server, &config),
            incoming: Incoming::new(Role::Server),
            outgoing: Outgoing::default(),
            timers: Timers::new(start, 0, &config),
            config,
            start,
        }
    }

    /// Decodes all of `frames`, `second` seconds after the beginning.
    fn receive(&mut self, second: u64, frames: &[u8]) -> Result<Vec<Decoded>, ProtocolError> {
        let now = self.start + Duration::from_secs(second);
        let (mut src, mut all) = (BytesMut::from(frames), Vec::new());
        let limits = Limits::new(&self.config);
        while let Some(decoded) = self.incoming.decode(
            &limits,
            &mut src,
            &mut { usize::MAX },
            self.outgoing.close_sent(),
        )? {
            if let Decoded::Event(event @ (Event::Ping(_) | Event::Pong(_))) = &decoded {
                self.incoming.control(
                    event,
                    &mut self.outgoing,
                    &mut self.timers,
                    now,
                    &self.encoder,
                    &self.config,
                )?;
            }
            all.push(decoded);
        }
        Ok(all)
    }
}

#[test]
fn messages_that_somebody_else_has_decoded_are_counted_as_the_others_are() {
    let mut end = End::new(Config::default());
    let limits = Limits::new(&end.config);
    let frames = [
        from_client(0x81, b"one"),
        from_client(0x82, &[b'x'; 200]),
        from_client(0x89, b""),
    ];
    let (mut src, mut taken) = (frames.concat(), Vec::new());
    while let Some((message, used)) = take_plain(Role::Server, &limits, &mut src) {
        taken.push(message);
        src.drain(..used);
    }
    assert_eq!(
        taken,
        [Message::text("one"), Message::binary([b'x'; 200].to_vec())]
    );
    let before = end.incoming.frame_in_progress(1);
    end.incoming.count_plain(2);
    assert_ne!(end.incoming.frame_in_progress(1), before, "another frame");
    assert_eq!((end.incoming.messages(), &src), (2, &frames[2]));
    end.receive(0, &frames[0]).expect("it is right");
    assert_eq!(end.incoming.messages(), 3);
}

#[test]
fn nothing_is_between_messages_while_one_is_open_or_passed_over() {
    let mut end = End::new(Config::default());
    assert!(end.incoming.is_between_messages());
    end.receive(0, &from_client(0x01, b"be"))
        .expect("it is right");
    assert!(!end.incoming.is_between_messages());
    end.receive(0, &from_client(0x80, b"gun"))
        .expect("it is right");
    assert!(end.incoming.is_between_messages());
    end.receive(0, &from_client(0x81, b"half of it")[..9])
        .expect("it is right");
    assert!(!end.incoming.is_between_messages());
    end.incoming.discard_messages();
    assert!(!end.incoming.is_between_messages());
}

#[test]
fn messages_are_counted_when_they_end() {
    let frames = [
        (from_client(0x81, b"whole"), 1),
        (from_client(0x01, b"in "), 1),
        (from_client(0x89, b""), 1),
        (from_client(0x80, b"two"), 2),
    ];
    for config in [Config::default(), Config::default().streaming(true)] {
        let mut end = End::new(config);
        for (frame, messages) in &frames {
            assert!(end.receive(0, frame).is_ok());
            assert_eq!(end.incoming.messages(), *messages);
        }
    }
}

#[test]
fn messages_after_our_close_are_neither_counted_nor_given() {
    let mut end = End::new(Config::default().max_message_size(9));
    assert!(end.receive(0, &from_client(0x81, b"before")).is_ok());
    assert_eq!(end.outgoing.close(&end.encoder, None), Ok(()));
    let frames = [
        from_client(0x81, b"after"),
        from_client(0x81, b"\xff"),
        from_client(0x82, &[0; 1000]),
        from_client(0x88, b""),
    ];
    let decoded = end.receive(0, &frames.concat()).expect("valid frames");
    assert!(matches!(decoded[..], [Decoded::Event(Event::Close(None))]));
    assert_eq!(end.incoming.messages(), 1);
}

#[test]
fn pings_are_left_to_an_application_that_wants_them() {
    for (auto_pong, queued) in [(true, 7), (false, 0)] {
        let mut end = End::new(Config::default().auto_pong(auto_pong));
        assert!(end.receive(0, &from_client(0x89, b"Hello")).is_ok());
        assert_eq!(end.outgoing.queued(), queued);
    }
}

#[test]
fn a_pong_asks_for_nothing() {
    let mut end = End::new(Config::default());
    assert!(end.receive(0, &from_client(0x8a, b"Hello")).is_ok());
    assert_eq!(end.outgoing.queued(), 0);
}

#[test]
fn a_pong_for_each_ping_of_ours_is_no_flood() {
    let mut end = End::new(Config::default().control_frame_burst(0));
    for _ in 0..3 {
        assert_eq!(end.outgoing.ping(&end.encoder, b""), Ok(()));
    }
    let pong = from_client(0x8a, b"");
    assert!(end.receive(1, &pong.repeat(3)).is_ok());
    let flood = end.receive(1, &pong).map(drop);
    assert!(matches!(flood, Err(ProtocolError::ControlFlood { .. })));
}

#[test]
fn a_message_that_is_streamed_has_come_when_it_begins() {
    for (streaming, received) in [(true, 1), (false, 0)] {
        let config = Config::default().streaming(streaming);
        let mut end = End::new(config);
        assert!(end.receive(0, &from_client(0x02, b"begun")).is_ok());
        let limits = Limits::new(&end.config);
        let facts = end.incoming.facts(&end.outgoing, &limits, 0);
        assert_eq!(facts.received, received);
    }
}

#[test]
fn every_part_of_a_message_and_all_that_is_sent_is_traffic() {
    let mut end = End::new(Config::default());
    let mut seen = Vec::new();
    let mut look = |end: &mut End| {
        let limits = Limits::new(&end.config);
        let traffic = end.incoming.facts(&end.outgoing, &limits, 0).traffic;
        assert!(!seen.contains(&traffic));
        seen.push(traffic);
    };
    look(&mut end);
    for frame in [from_client(0x02, b"a"), from_client(0x80, b"b")] {
        assert!(end.receive(0, &frame).is_ok());
        look(&mut end);
    }
    let message = Message::text("");
    assert!(end.outgoing.message(&end.encoder, message).is_ok());
    look(&mut end);
}
