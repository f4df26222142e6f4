//! The order of what leaves; pongs; the closing handshake.

use bytes::Buf;

use super::*;
use crate::{
    config::Config,
    protocol::{
        close::CloseCode, header::Opcode, message::Event, outbound::PreparedMessage, role::Role,
        test_support::from_server,
    },
};

fn server() -> Encoder {
    Encoder::new(Role::Server, &Config::default())
}

fn receive(outgoing: &mut Outgoing, event: &Event) {
    match event {
        Event::Ping(payload) => outgoing.receive_ping(&server(), payload),
        Event::Close(frame) => outgoing.receive_close(&server(), frame.as_ref()),
        _ => unreachable!("it asks for nothing"),
    }
}

fn ping(outgoing: &mut Outgoing, payload: &[u8]) {
    receive(outgoing, &Event::Ping(payload.to_vec().into()));
}

/// Writes all that is queued.
fn written(outgoing: &mut Outgoing) -> Vec<u8> {
    let Some(mut queue) = outgoing.take_queue() else {
        return Vec::new();
    };
    let bytes = queue.frames.copy_to_bytes(queue.frames.len());
    outgoing.written(&server(), &mut queue);
    bytes.into()
}

#[test]
fn pongs_leave_in_the_order_of_their_pings() {
    let mut outgoing = Outgoing::default();
    let pings: Vec<_> = (0..10).map(|i| vec![i; 125]).collect();
    pings
        .iter()
        .for_each(|payload| ping(&mut outgoing, payload));
    let pongs: Vec<_> = pings
        .iter()
        .map(|payload| from_server(0x8a, payload))
        .collect();
    assert_eq!(written(&mut outgoing), pongs.concat());
}

#[test]
fn beyond_2_kib_of_pongs_only_the_newest_ping_is_answered() {
    let mut outgoing = Outgoing::default();
    let pings: Vec<_> = (0..100).map(|i| vec![i; 125]).collect();
    pings
        .iter()
        .for_each(|payload| ping(&mut outgoing, payload));
    assert!(outgoing.queued() <= 2 << 10);
    // Fifteen of 131 bytes, counted masked, are 1,965 bytes; sixteen are too many.
    let pongs: Vec<_> = pings
        .iter()
        .map(|payload| from_server(0x8a, payload))
        .collect();
    assert_eq!(written(&mut outgoing), pongs[..15].concat());
    assert_eq!(written(&mut outgoing), pongs[99]);
    assert_eq!(written(&mut outgoing), b"");
}

#[test]
fn short_ping_does_not_overtake_the_one_that_waits() {
    let mut outgoing = Outgoing::default();
    (0..16).for_each(|i| ping(&mut outgoing, &[i; 125]));
    ping(&mut outgoing, b"last");
    let first = written(&mut outgoing);
    assert!(first.ends_with(&from_server(0x8a, &[14; 125])));
    assert_eq!(written(&mut outgoing), from_server(0x8a, b"last"));
    assert_eq!(written(&mut outgoing), b"");
}

#[test]
fn a_flood_of_pings_to_a_peer_that_reads_nothing_take_2_kib() {
    let mut outgoing = Outgoing::default();
    (0..100_000).for_each(|_| ping(&mut outgoing, b""));
    assert!(outgoing.queued() <= 2 << 10);
}

#[test]
fn what_is_encoded_where_it_lies_is_what_the_ordinary_way_sends() {
    for (size, role) in [
        (None, Role::Server),
        (Some(1000), Role::Server),
        (Some(1), Role::Server),
        (None, Role::Client),
    ] {
        let encoder = Encoder::new(role, &Config::default().fragment_size(size));
        let encoder = encoder.masking_keys(|| [1, 2, 3, 4]);
        let (mut short, mut ordinary) = (Outgoing::default(), Outgoing::default());
        for len in (0..=126).chain([5000]) {
            let text = Message::text("x".repeat(len));
            for message in [text.clone(), Message::Binary(text.into_bytes())] {
                let mut outbound = Outbound::from(message.clone());
                let copied = short.outbound(&encoder, &mut outbound).expect("it is open");
                assert_eq!(
                    encoder.is_short(len),
                    copied.is_none() && outbound.len() == len
                );
                assert!(ordinary.message(&encoder, message).is_ok());
                let [one, other] = [&short, &ordinary].map(|outgoing| {
                    (
                        outgoing.messages,
                        outgoing.bytes,
                        outgoing.queued(),
                        outgoing.queued_messages(),
                    )
                });
                assert_eq!(one, other, "{len}");
            }
        }
        assert_eq!(written(&mut short), written(&mut ordinary));
    }
}

#[test]
fn short_message_waits_behind_one_that_is_sent_piece_by_piece() {
    let mut outgoing = Outgoing::default();
    outgoing.begin_stream().expect("it is open");
    let sent = outgoing.outbound(&server(), &mut "behind".into());
    assert_eq!(sent, Some(None));
    assert_eq!((outgoing.queued(), outgoing.queued_behind()), (0, 8));
    outgoing.end_stream();
    assert_eq!(written(&mut outgoing), from_server(0x81, b"behind"));
}

#[test]
fn nothing_is_sent_and_nothing_taken_unless_it_is_open() {
    let closings: [fn(&mut Outgoing); 3] = [
        |outgoing| outgoing.close(&server(), None).expect("it is open"),
        |outgoing| receive(outgoing, &Event::Close(None)),
        Outgoing::end,
    ];
    for close in closings {
        let mut outgoing = Outgoing::default();
        close(&mut outgoing);
        let before = outgoing.queued();
        let mut late = Outbound::from("late");
        assert_eq!(outgoing.outbound(&server(), &mut late), None);
        assert_eq!(late, "late".into());
        assert_eq!(
            (outgoing.queued(), outgoing.messages, outgoing.bytes),
            (before, 0, 0)
        );
    }
}

#[test]
fn what_was_prepared_is_left_as_it_is() {
    let mut outgoing = Outgoing::default();
    let mut prepared = Outbound::from(PreparedMessage::new("once"));
    assert_eq!(outgoing.outbound(&server(), &mut prepared), None);
    assert_eq!(
        (prepared.len(), outgoing.messages, outgoing.queued()),
        (4, 0, 0)
    );
}

#[test]
fn what_another_one_has_queued_goes_in_front_and_is_counted() {
    let (mut outgoing, mut other) = (Outgoing::default(), Outgoing::default());
    outgoing
        .message(&server(), "last".into())
        .expect("it is open");
    for text in ["1", "22"] {
        other.message(&server(), text.into()).expect("it is open");
    }
    assert!(!other.is_unused());
    outgoing.take_over(&server(), &mut other);
    assert!(other.is_unused());
    assert_eq!((outgoing.messages, outgoing.bytes), (3, 7));
    let frames = ["1", "22", "last"].map(|text| from_server(0x81, text.as_bytes()));
    assert_eq!(written(&mut outgoing), frames.concat());
}

#[test]
fn received_close_is_answered_with_its_code_once() {
    let frame = CloseFrame::new(CloseCode::GOING_AWAY, "bye");
    for (close, payload) in [(Some(frame), &b"\x03\xe9bye"[..]), (None, b"")] {
        let mut outgoing = Outgoing::default();
        receive(&mut outgoing, &Event::Close(close.clone()));
        receive(&mut outgoing, &Event::Close(close));
        assert_eq!(written(&mut outgoing), from_server(0x88, payload));
        assert!(outgoing.close_sent() && outgoing.close_received());
    }
}

#[test]
fn only_pongs_are_sent_after_our_close_until_the_peers() {
    let mut outgoing = Outgoing::default();
    assert_eq!(outgoing.close(&server(), None), Ok(()));
    assert_eq!(outgoing.message(&server(), "late".into()), Err(NotOpen));
    assert_eq!(outgoing.ping(&server(), b""), Err(NotOpen));
    assert_eq!(outgoing.pong(&server(), b""), Err(NotOpen));
    assert_eq!(outgoing.close(&server(), None), Err(NotOpen));
    ping(&mut outgoing, b"ping");
    receive(&mut outgoing, &Event::Close(None));
    ping(&mut outgoing, b"late");
    assert_eq!(written(&mut outgoing), b"\x88\x00\x8a\x04ping");
    assert_eq!((outgoing.messages, outgoing.bytes), (0, 0));
}

#[test]
fn waiting_pong_leaves_after_our_close() {
    let mut outgoing = Outgoing::default();
    (0..16).for_each(|i| ping(&mut outgoing, &[i; 125]));
    assert_eq!(outgoing.close(&server(), None), Ok(()));
    assert!(written(&mut outgoing).ends_with(b"\x88\x00"));
    assert_eq!(written(&mut outgoing), from_server(0x8a, &[15; 125]));
}

#[test]
fn state_follows_from_the_facts() {
    let mut outgoing = Outgoing::default();
    assert_eq!(outgoing.state(), State::Open);
    receive(&mut outgoing, &Event::Close(None));
    assert_eq!(outgoing.state(), State::Closing);
    outgoing.end();
    assert_eq!(outgoing.state(), State::Closed);
    assert_eq!(outgoing.message(&server(), "late".into()), Err(NotOpen));
}

#[test]
fn messages_are_counted_by_their_payload() {
    let mut outgoing = Outgoing::default();
    for payload in ["Hello", "", "wörld"] {
        assert!(outgoing.message(&server(), payload.into()).is_ok());
    }
    assert_eq!((outgoing.messages, outgoing.bytes), (3, 11));
}

#[test]
fn what_was_queued_meanwhile_leaves_behind_the_rest() {
    let mut outgoing = Outgoing::default();
    assert!(outgoing.message(&server(), "first".into()).is_ok());
    let mut rest = outgoing.take_queue().expect("a message waits");
    rest.frames.advance(3);
    assert!(outgoing.message(&server(), "second".into()).is_ok());
    outgoing.put_back(&server(), rest, 3);
    assert_eq!(outgoing.queued(), 4 + 8);
    assert_eq!(written(&mut outgoing), b"irst\x81\x06second");
}

#[test]
fn pings_that_came_meanwhile_are_answered() {
    let mut outgoing = Outgoing::default();
    assert!(outgoing.message(&server(), "first".into()).is_ok());
    let rest = outgoing.take_queue().expect("a message waits");
    (0..17).for_each(|i| ping(&mut outgoing, &[i; 125]));
    outgoing.put_back(&server(), rest, 0);
    ping(&mut outgoing, b"last");
    assert!(written(&mut outgoing).ends_with(&from_server(0x8a, &[14; 125])));
    assert_eq!(written(&mut outgoing), from_server(0x8a, b"last"));
}

#[test]
fn pongs_that_were_queued_meanwhile_count() {
    let mut outgoing = Outgoing::default();
    assert!(outgoing.message(&server(), "first".into()).is_ok());
    let rest = outgoing.take_queue().expect("a message waits");
    (0..15).for_each(|i| ping(&mut outgoing, &[i; 125]));
    outgoing.put_back(&server(), rest, 0);
    ping(&mut outgoing, &[15; 125]);
    assert!(written(&mut outgoing).ends_with(&from_server(0x8a, &[14; 125])));
    assert_eq!(written(&mut outgoing), from_server(0x8a, &[15; 125]));
}

#[test]
fn newest_ping_is_answered_when_the_last_pong_has_left_though_the_queue_has_not() {
    for (left, answered) in [(16 * 127 - 1, false), (16 * 127, true)] {
        let mut outgoing = Outgoing::default();
        (0..16).for_each(|i| ping(&mut outgoing, &[i; 125]));
        assert!(outgoing.message(&server(), "behind".into()).is_ok());
        let mut rest = outgoing.take_queue().expect("pongs wait");
        // 15 pongs fit in 2 KiB; the last ping waits.
        let left = left - 127;
        rest.frames.advance(left);
        outgoing.put_back(&server(), rest, left);
        assert_eq!(
            written(&mut outgoing).ends_with(&from_server(0x8a, &[15; 125])),
            answered
        );
    }
}

/// Queues a fragment of a text message.
fn piece(outgoing: &mut Outgoing, fin: bool, first: FrameStart, text: &'static str) {
    let payload = Bytes::from_static(text.as_bytes());
    assert!(
        outgoing
            .piece(&server(), fin, first, text.len(), payload)
            .is_ok()
    );
}

const TEXT: FrameStart = FrameStart::new(Opcode::Text);

#[test]
fn messages_wait_behind_one_that_is_sent_piece_by_piece_and_control_frames_do_not() {
    let mut outgoing = Outgoing::default();
    assert_eq!(outgoing.begin_stream(), Ok(()));
    assert!(outgoing.message(&server(), "behind".into()).is_ok());
    piece(&mut outgoing, false, TEXT, "a");
    ping(&mut outgoing, b"p");
    assert_eq!(outgoing.queued_behind(), 8);
    assert_eq!(written(&mut outgoing), b"\x01\x01a\x8a\x01p");
    assert!(outgoing.take_queue().is_none(), "it waits");
    piece(&mut outgoing, true, FrameStart::CONTINUATION, "b");
    outgoing.end_stream();
    assert_eq!(outgoing.queued_behind(), 0);
    assert_eq!(written(&mut outgoing), b"\x80\x01b\x81\x06behind");
    assert_eq!((outgoing.messages, outgoing.bytes), (2, 8));
}

#[test]
fn messages_behind_keep_their_place_whatever_is_taken_and_put_back() {
    // It ends before the queue is taken, while it is written, or after it was put back.
    for ended in 0..3 {
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.begin_stream(), Ok(()));
        assert!(outgoing.message(&server(), "1".into()).is_ok());
        piece(&mut outgoing, true, TEXT, "abc");
        if ended == 0 {
            outgoing.end_stream();
        }
        let mut rest = outgoing.take_queue().expect("a fragment waits");
        rest.frames.advance(2);
        assert!(outgoing.message(&server(), "2".into()).is_ok());
        if ended == 1 {
            outgoing.end_stream();
        }
        assert!(outgoing.message(&server(), "3".into()).is_ok());
        outgoing.put_back(&server(), rest, 2);
        if ended == 2 {
            assert_eq!(outgoing.queued(), 3);
            outgoing.end_stream();
        }
        let expected = b"abc\x81\x011\x81\x012\x81\x013";
        assert_eq!(written(&mut outgoing), expected, "{ended}");
    }
}

#[test]
fn messages_behind_count_towards_the_limits() {
    let bytes = Config::default().max_send_queue(5);
    let messages = Config::default().max_send_queue(100).max_send_messages(2);
    for config in [bytes, messages] {
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.begin_stream(), Ok(()));
        for full in [false, true] {
            assert!(outgoing.message(&server(), "x".into()).is_ok());
            assert_eq!(outgoing.is_full(&config), full);
        }
        piece(&mut outgoing, true, TEXT, "");
        let mut taken = outgoing.take_queue().expect("a fragment waits");
        assert!(outgoing.is_full(&config), "they stay");
        let len = taken.frames.len();
        taken.frames.advance(len);
        outgoing.written(&server(), &mut taken);
        assert!(taken.is_empty() && outgoing.is_full(&config));
        outgoing.end_stream();
        assert!(outgoing.is_full(&config));
        written(&mut outgoing);
        assert!(!outgoing.is_full(&config));
    }
}

#[test]
fn messages_behind_stay_behind_a_close() {
    let mut outgoing = Outgoing::default();
    assert_eq!(outgoing.begin_stream(), Ok(()));
    piece(&mut outgoing, false, TEXT, "a");
    assert!(outgoing.message(&server(), "behind".into()).is_ok());
    assert_eq!(outgoing.close(&server(), None), Ok(()));
    outgoing.end_stream();
    assert_eq!(written(&mut outgoing), b"\x01\x01a\x88\x00");
    assert_eq!((outgoing.queued(), outgoing.queued_behind()), (0, 8));
    assert_eq!(outgoing.begin_stream(), Err(NotOpen));
    assert!(outgoing.clear().is_some_and(|queue| !queue.is_empty()));
}

#[test]
fn empty_queue_is_not_taken() {
    let mut outgoing = Outgoing::default();
    outgoing.adopt(Some(Box::default()));
    assert!(outgoing.take_queue().is_none());
    assert!(outgoing.message(&server(), "first".into()).is_ok());
    assert!(outgoing.take_queue().is_some());
}

#[test]
fn idle_connection_has_no_queue() {
    let mut outgoing = Outgoing::default();
    assert!(outgoing.take_queue().is_none());
    ping(&mut outgoing, b"");
    written(&mut outgoing);
    assert!(outgoing.queue.is_none());
}
