//! Work that has to grow with what a peer sends, and not with its square.
//!
//! Nothing is timed: each workload runs twice under valgrind, which counts instructions, with four times
//! as much the second time. Where there is no valgrind, nothing is measured, and that is told.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail where it stands, and says what it has measured"
)]

use std::{
    env,
    fmt::Write,
    hint::black_box,
    process::{Command, ExitCode, Stdio},
    thread,
    time::Instant,
};

use bytes::Buf;
use http::{HeaderValue, Request, header, request};
use tower_websocket::{
    Compression, Config, Event, PreparedMessage,
    handshake::{client, server},
    protocol::{Connection, DeflateParams, Role},
};

/// What a workload of four times the size may take of the instructions of the smaller one.
const MOST: f64 = 5.0;

/// A size at which the square of it would be seen: a byte's copy is a sixteenth of an instruction.
const SIZE: usize = 16 << 10;

type Workload = (&'static str, fn(usize));

const WORKLOADS: &[Workload] = &[
    ("nothing", |_| {}),
    ("a message in fragments of one byte", |size| {
        let last = frame(0x80, b"x");
        receive(
            false,
            &[frame(0x02, b"x"), frame(0, b"x").repeat(size / 2), last].concat(),
            usize::MAX,
        );
    }),
    ("a text in fragments of one byte", |size| {
        let last = frame(0x80, b"x");
        receive(
            false,
            &[frame(0x01, b"x"), frame(0, b"x").repeat(size / 2), last].concat(),
            usize::MAX,
        );
    }),
    ("empty fragments", |size| {
        let last = frame(0x80, b"");
        receive(
            false,
            &[frame(0x02, b""), frame(0, b"").repeat(size / 2), last].concat(),
            usize::MAX,
        );
    }),
    ("one frame, a byte at a time", |size| {
        receive(false, &frame(0x82, &vec![b'x'; size / 2]), 1);
    }),
    ("one text, a byte at a time", |size| {
        receive(false, &frame(0x81, &vec![b'x'; size / 2]), 1);
    }),
    ("messages of a byte in one read", |size| {
        receive(false, &frame(0x82, b"x").repeat(size / 2), usize::MAX);
    }),
    ("messages of a byte, a byte at a time", |size| {
        receive(false, &frame(0x82, b"x").repeat(size / 8), 1);
    }),
    ("pings in one read", |size| {
        receive(false, &frame(0x89, b"x").repeat(size / 2), usize::MAX);
    }),
    ("pings between fragments", |size| {
        let pair = [frame(0, b"x"), frame(0x89, b"x")].concat();
        let last = frame(0x80, b"x");
        receive(
            false,
            &[frame(0x02, b"x"), pair.repeat(size / 4), last].concat(),
            usize::MAX,
        );
    }),
    ("compressed messages", |size| {
        // Each has the window restored, which is full from the first on.
        let window = [b"\0\0\x80\xff\x7f", &[0; 32 << 10][..], b"\0"].concat();
        let messages = frame(0xc1, HELLO).repeat(size / 32);
        receive(true, &[frame(0xc2, &window), messages].concat(), usize::MAX);
    }),
    ("a compressed message, a byte at a time", |size| {
        // Blocks without compression (RFC 1951 §3.2.4).
        let block = b"\0\x08\0\xf7\xff01234567";
        let payload = [&block.repeat(size / 32)[..], b"\0"].concat();
        receive(true, &frame(0xc2, &payload), 1);
    }),
    ("a compressed message in fragments of one byte", |size| {
        let block = b"\0\x08\0\xf7\xff01234567";
        let fragments = block.repeat(size / 32).into_iter();
        let mut bytes = frame(0x42, b"");
        bytes.extend(fragments.flat_map(|byte| frame(0, &[byte])));
        bytes.extend(frame(0x80, b"\0"));
        receive(true, &bytes, usize::MAX);
    }),
    ("messages sent at once, written a byte at a time", |size| {
        let mut server = connection(false);
        for _ in 0..size / 8 {
            server.send("x").unwrap();
        }
        write(&mut server);
    }),
    ("a message sent in fragments of one byte", |size| {
        let config = config().fragment_size(1);
        let mut server = Connection::new(Role::Server, config, Instant::now());
        server.send(vec![b'x'; size]).unwrap();
        write(&mut server);
    }),
    ("a prepared message sent to many", |size| {
        let prepared = PreparedMessage::new("x".repeat(1000));
        for _ in 0..size / 64 {
            let mut server = connection(true);
            server.send(&prepared).unwrap();
            black_box(server.poll_transmit());
        }
    }),
    ("subprotocols on one line", |size| {
        negotiate("sec-websocket-protocol", 1, &list("p", size / 8));
    }),
    ("subprotocols on lines of their own", |size| {
        negotiate("sec-websocket-protocol", size / 8, "another");
    }),
    ("commas and spaces for subprotocols", |size| {
        negotiate("sec-websocket-protocol", 1, &", ".repeat(size / 2));
    }),
    ("tokens of connection", |size| {
        negotiate("connection", 1, &list("x", size / 8));
    }),
    ("tokens of upgrade", |size| {
        negotiate("upgrade", 1, &list("x", size / 8));
    }),
    ("unknown extensions", |size| {
        negotiate("sec-websocket-extensions", 1, &list("x-unknown", size / 16));
    }),
    ("offers of compression that cannot be met", |size| {
        let offer = "permessage-deflate; server_max_window_bits=7, ";
        negotiate("sec-websocket-extensions", 1, &offer.repeat(size / 48));
    }),
    ("parameters of one offer", |size| {
        let mut offer = "permessage-deflate".to_owned();
        for number in 0..size / 16 {
            write!(offer, "; p{number}=\"v\"").unwrap();
        }
        negotiate("sec-websocket-extensions", 1, &offer);
    }),
    ("the same parameter of one offer", |size| {
        let parameters = "; client_no_context_takeover".repeat(size / 32);
        negotiate(
            "sec-websocket-extensions",
            1,
            &format!("permessage-deflate{parameters}"),
        );
    }),
    ("a quoted value of escapes", |size| {
        let value = "\\a".repeat(size / 2);
        negotiate("sec-websocket-extensions", 1, &format!("x; y=\"{value}\""));
    }),
    ("a quoted value without an end", |size| {
        negotiate("sec-websocket-extensions", 1, &"x; y=\"\\".repeat(size / 8));
    }),
    ("extensions on lines of their own", |size| {
        negotiate("sec-websocket-extensions", size / 16, "x; y=\"z\"");
    }),
    ("a key", |size| {
        negotiate("sec-websocket-key", 1, &"A".repeat(size))
    }),
    ("a version", |size| {
        negotiate("sec-websocket-version", 1, &"1".repeat(size))
    }),
    ("an origin", |size| {
        negotiate("origin", 1, &format!("http://{}", "a.".repeat(size / 2)));
    }),
    ("a host", |size| {
        negotiate("host", 1, &"a.".repeat(size / 2))
    }),
    ("an answer with extensions", |size| {
        let answer = list("permessage-deflate", size / 32);
        check("sec-websocket-extensions", &answer);
    }),
    ("an answer with tokens", |size| {
        check("connection", &list("x", size / 8))
    }),
];

/// "Hello", compressed (RFC 7692 §7.2.3.1).
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

fn config() -> Config {
    Config::default()
        .max_message_size(None)
        .control_frame_rate(None)
        .subprotocols(["chat.v1", "chat.v2"])
        .compression(Compression::dedicated())
}

fn connection(deflate: bool) -> Connection {
    let connection = Connection::new(Role::Server, config(), Instant::now());
    if deflate {
        connection.deflate(DeflateParams::default())
    } else {
        connection
    }
}

/// A client's frame, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Has a server receive bytes in pieces, and takes what comes of it as a session does.
fn receive(deflate: bool, bytes: &[u8], piece: usize) {
    let (mut server, now) = (connection(deflate), Instant::now());
    let mut messages = 0;
    for piece in bytes.chunks(piece.min(64 << 10)) {
        server.receive(piece, now);
        while let Some(event) = server.poll_event() {
            messages += usize::from(matches!(event, Event::Message(_) | Event::Ping(_)));
        }
        let queued = server
            .poll_transmit()
            .map(|queue| queue.advance(queue.len()));
        if queued.is_some() {
            server.transmitted(now);
        }
    }
    assert_eq!(server.error(), None);
    assert!(messages > 0);
}

/// Writes all that is queued, a byte at a time.
fn write(server: &mut Connection) {
    let now = Instant::now();
    while let Some(queue) = server.poll_transmit() {
        black_box(queue.chunk()[0]);
        queue.advance(1);
        server.transmitted(now);
    }
}

fn list(element: &str, count: usize) -> String {
    let mut list = element.to_owned();
    for number in 1..count {
        write!(list, ", {element}{}", number % 10).unwrap();
    }
    list
}

fn request() -> request::Parts {
    let request = Request::get("/")
        .header("host", "localhost")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.body(()).unwrap().into_parts().0
}

/// Answers a handshake with so many lines of a field, behind the one that it has, if it may have more.
fn negotiate(name: &'static str, lines: usize, value: &str) {
    let mut head = request();
    let value = HeaderValue::from_str(value).unwrap();
    if !["connection", "upgrade"].contains(&name) {
        head.headers.remove(name);
    }
    for _ in 0..lines {
        head.headers.append(name, value.clone());
    }
    // Accepted or refused: what counts is what it takes.
    let _answer = black_box(server::negotiate(&head, None, &config()));
}

/// Looks at an answer with such a field, as a client.
fn check(name: &'static str, value: &str) {
    let mut head = Request::get("ws://localhost/")
        .body(())
        .unwrap()
        .into_parts()
        .0;
    let offer = client::offer(&mut head, &config()).unwrap();
    let request = head;
    let opening = server::negotiate(&request_of(&request), None, &config()).unwrap();
    let (mut answer, ()) = opening.response().into_parts();
    answer
        .headers
        .append(name, HeaderValue::from_str(value).unwrap());
    let _accepted = black_box(offer.check(&answer));
}

/// The request as it comes to the server.
fn request_of(head: &request::Parts) -> request::Parts {
    let mut request = request();
    let key = &head.headers[header::SEC_WEBSOCKET_KEY];
    request
        .headers
        .insert(header::SEC_WEBSOCKET_KEY, key.clone());
    request
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [mode, name, size] = &arguments[..]
        && mode == "workload"
    {
        let (_, workload) = WORKLOADS.iter().find(|(known, _)| known == name).unwrap();
        workload(size.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    // As the harness has it: names, of which one is to be in a test's.
    let wanted: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(&**part));
    let chosen: Vec<_> = WORKLOADS[1..]
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .collect();
    if chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    if !cfg!(target_os = "linux") || Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("INSTRUCTIONS NOT COUNTED: there is no valgrind on this machine");
        return ExitCode::SUCCESS;
    }
    let nothing = instructions("nothing", 0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let shares = chosen.chunks(chosen.len().div_ceil(threads));
    let steep: usize = thread::scope(|scope| {
        let running: Vec<_> = shares
            .map(|share| {
                scope.spawn(move || {
                    share
                        .iter()
                        .filter(|(name, _)| !is_linear(name, nothing))
                        .count()
                })
            })
            .collect();
        running.into_iter().map(|share| share.join().unwrap()).sum()
    });
    println!("{} workloads, {steep} of them too steep", chosen.len());
    if steep == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether four times the size takes no more than five times the instructions.
fn is_linear(name: &str, nothing: u64) -> bool {
    let [small, large] = [SIZE, 4 * SIZE].map(|size| instructions(name, size) - nothing);
    let growth = large as f64 / small as f64;
    let linear = growth <= MOST;
    let word = if linear { "ok" } else { "TOO STEEP" };
    println!("{word}: {name}: {small} and {large} instructions, {growth:.2} times as many");
    linear
}

/// How many instructions a workload takes, the start of the process included.
fn instructions(name: &str, size: usize) -> u64 {
    let output = Command::new("valgrind")
        .args([
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        ])
        .arg(env::current_exe().unwrap())
        .args(["workload", name, &size.to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {told}");
    let line = told.lines().find(|line| line.contains("refs:")).unwrap();
    let (_, number) = line.rsplit_once(' ').unwrap();
    number.replace(',', "").parse().unwrap()
}
