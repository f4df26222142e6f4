//! Conversations that were recorded from browsers and other peers, played over lines that go wrong at
//! the n-th operation, for every n.
#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod line;
mod play;
mod reading;
mod script;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::{
    line::{Fault, Plan},
    play::{Run, play},
    reading::{Ending, Recording},
    script::{OUR_CLOSE, PEER_CLOSE, Said},
};
use tower_websocket::session::EndedBy;

#[test]
fn recordings_hold_what_the_script_says() {
    let recordings = Recording::all();
    for of in [
        "chromium-http1",
        "chromium-http2",
        "firefox-http1",
        "firefox-http2",
        "ws-client-http1",
        "ws-server-http1",
        "websockets-client-http1",
        "websockets-server-http1",
        "wsproto-client-http2",
        "hypercorn-server-http2",
    ] {
        let names = recordings.iter().map(|recording| &recording.name);
        assert_eq!(names.filter(|name| name.starts_with(of)).count(), 6, "{of}");
    }
    for recording in &recordings {
        let name = &recording.name;
        assert_eq!(
            recording.said.messages,
            recording.expected_of_peer(),
            "{name}"
        );
        assert_eq!(
            recording.said.close.is_none(),
            recording.ending == Ending::Abort,
            "{name}"
        );
    }
}

#[test]
fn a_recorded_conversation_goes_as_it_went() {
    for recording in Recording::all() {
        for hurried in [false, true] {
            let plan = Plan {
                hurried,
                ..Plan::default()
            };
            let run = play(&recording, plan);
            check_whole(&recording, &run, &format!("{} {plan:?}", recording.name));
        }
    }
}

#[test]
fn single_bytes_make_the_same_conversation() {
    for recording in Recording::all() {
        let plan = Plan {
            fault: Some((0, Fault::OneByte)),
            ..Plan::default()
        };
        let run = play(&recording, plan);
        check_whole(&recording, &run, &recording.name);
    }
}

#[test]
fn pieces_cut_at_random_make_the_same_conversation() {
    let seeds: u64 = if thorough() { 100 } else { 3 };
    for recording in Recording::all() {
        for seed in 1..=seeds {
            let plan = Plan {
                cut: Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                hurried: seed % 2 == 0,
                ..Plan::default()
            };
            let run = play(&recording, plan);
            check_whole(
                &recording,
                &run,
                &format!("{}, cut by {seed}", recording.name),
            );
        }
    }
}

/// Every operation where `RECORDED_FAULTS` is `all`, as in `.ci/recorded`; else every so many, from
/// another one on in each recording and for each fault.
#[test]
fn a_fault_at_any_operation_loses_only_what_comes_after() {
    let step = if thorough() { 1 } else { 11 };
    println!("a fault at every {step}. operation");
    let mut runs = 0;
    for (number, recording) in Recording::all().iter().enumerate() {
        for (kind, fault) in Fault::ALL.into_iter().enumerate() {
            let mut at = (number * 7 + kind * 5) % step;
            loop {
                let plan = Plan {
                    fault: Some((at, fault)),
                    ..Plan::default()
                };
                let run = play(recording, plan);
                runs += 1;
                let context = format!("{}, {fault:?} at {at}", recording.name);
                if run.operations <= at || fault.is_harmless() {
                    check_whole(recording, &run, &context);
                } else {
                    check_part(recording, &run, fault, &context);
                }
                if run.operations <= at {
                    break;
                }
                at += step;
            }
        }
    }
    println!("{runs} runs");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn thorough() -> bool {
    std::env::var("RECORDED_FAULTS").is_ok_and(|faults| faults == "all")
}

/// Whatever happens on the line.
fn check_always(recording: &Recording, run: &Run, context: &str) {
    assert!(!run.spins, "operations in circles: {context}");
    assert_eq!(run.tasks, 0, "tasks are left: {context}");
    let (expected, received) = (recording.expected_of_peer(), &run.received);
    assert!(
        expected.starts_with(received),
        "received {}: {context}",
        shown(received)
    );
    let (expected, sent) = (recording.expected_of_us(), &run.sent);
    assert!(
        expected.starts_with(&sent.messages),
        "sent {}: {context}",
        shown(&sent.messages)
    );
    let next = expected
        .get(sent.messages.len())
        .map_or(&[][..], Said::bytes);
    assert!(
        next.starts_with(&sent.begun),
        "began {:?}: {context}",
        sent.begun
    );
    let mut pings = recording.said.pings.iter();
    for pong in &sent.pongs {
        assert!(pings.any(|ping| ping == pong), "pong {pong:?}: {context}");
    }
    assert_eq!(
        run.opened,
        run.reports.len(),
        "{:?}: {context}",
        run.reports
    );
    assert_eq!(run.opened, run.returned, "{context}");
    if let Some(counters) = &run.counters {
        assert_eq!(counters.open, 0, "{context}");
        assert_eq!(
            counters.accepted,
            run.opened as u64 + counters.failed_upgrades,
            "{context}"
        );
        assert_eq!(
            counters.closed.values().sum::<u64>(),
            run.opened as u64,
            "{context}"
        );
    }
}

fn shown(messages: &[Said]) -> String {
    let short = |said: &Said| format!("{:.40}…({})", format!("{said:?}"), said.bytes().len());
    messages.iter().map(short).collect::<Vec<_>>().join(", ")
}

/// How a conversation ends, if nothing is in its way: by whom, by which code, and whether cleanly.
fn end(recording: &Recording) -> (EndedBy, u16, bool) {
    match (recording.ending, recording.is_server) {
        (Ending::Peer, false) => (EndedBy::Peer, PEER_CLOSE.0, true),
        (Ending::Peer, true) => (EndedBy::Peer, OUR_CLOSE.0, true),
        (Ending::Ours, false) => (EndedBy::Local, OUR_CLOSE.0, true),
        (Ending::Ours, true) => (EndedBy::Local, PEER_CLOSE.0, true),
        (Ending::Abort, _) => (EndedBy::Disconnect, 1006, false),
    }
}

/// Nothing was lost.
fn check_whole(recording: &Recording, run: &Run, context: &str) {
    check_always(recording, run, context);
    let expected = recording.expected_of_peer();
    assert_eq!(run.received.len(), expected.len(), "received: {context}");
    let expected = recording.expected_of_us();
    assert_eq!(run.sent.messages.len(), expected.len(), "sent: {context}");
    assert!(run.sent.whole, "a torn frame: {context}");
    assert_eq!(
        run.sent.pongs.is_empty(),
        recording.said.pings.is_empty(),
        "{context}"
    );
    let [report] = &run.reports[..] else {
        panic!("{:?}: {context}", run.reports);
    };
    let (ended_by, code, clean) = end(recording);
    let ended = (report.ended_by, report.close_code, report.clean);
    assert_eq!(ended, (ended_by, code, clean), "{context}");
    let code = (code != 1006).then(|| code.to_be_bytes());
    let said = run.sent.close.as_deref().map(|close| &close[..2]);
    assert_eq!(said, code.as_ref().map(|code| &code[..]), "{context}");
    assert_eq!(
        report.messages_received,
        run.received.len() as u64,
        "{context}"
    );
    assert_eq!(
        report.messages_sent,
        run.sent.messages.len() as u64,
        "{context}"
    );
}

/// Something was lost, and this is what may be so then.
fn check_part(recording: &Recording, run: &Run, fault: Fault, context: &str) {
    check_always(recording, run, context);
    let Some(report) = run.reports.first() else {
        return;
    };
    let context = format!("{report:?}, {context}");
    let peer_closed = recording.close_at.is_some_and(|at| run.read >= at);
    let asked = run.received.len() == recording.expected_of_peer().len();
    let (ended_by, code, _) = end(recording);
    if report.clean {
        assert!(peer_closed, "a Close came: {context}");
        // What HTTP/2 has accepted may still be lost.
        assert!(
            recording.http2 || run.sent.close.is_some(),
            "a Close went: {context}"
        );
    }
    match report.ended_by {
        EndedBy::Peer => {
            assert!(peer_closed, "{context}");
            // A recorded answer comes also where the question did not leave.
            let deaf = stalls(fault) || matches!(fault, Fault::End);
            assert!(recording.ending == Ending::Peer || deaf, "{context}");
        }
        EndedBy::Local => {
            assert_eq!((ended_by, asked), (EndedBy::Local, true), "{context}");
        }
        EndedBy::Disconnect => assert_eq!(report.close_code, 1006, "{context}"),
        EndedBy::Timeout => assert!(stalls(fault), "{context}"),
        _ => panic!("no violation: {context}"),
    }
    if !stalls(fault) && report.ended_by == ended_by {
        assert!([code, 1006].contains(&report.close_code), "{context}");
    }
    if matches!(fault, Fault::Error(_)) {
        // Not by the ping that cannot be written, 20 seconds later.
        assert!(report.duration < Duration::from_secs(6), "{context}");
    }
    if report.close_code == 1006 {
        assert!(run.sent.close.is_none(), "{context}");
    }
    assert!(
        report.messages_received >= run.received.len() as u64,
        "{context}"
    );
    assert!(
        report.messages_sent >= run.sent.messages.len() as u64,
        "{context}"
    );
}

fn stalls(fault: Fault) -> bool {
    matches!(fault, Fault::Stall | Fault::StallAll)
}
