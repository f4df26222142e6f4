//! Which callback is the last one, however a connection ends.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::request::Parts;
use tokio::{io::duplex, time::sleep};
use tower::ServiceExt;
use tower_websocket::{
    CloseCode, CloseFrame, Config, Connections, Error, Sender, Utf8Bytes, WebSocketLayer,
    service::{EventHandler, OnUpgrade, event_handler},
    session::Drain,
};

use crate::{
    crowd::{ask, until},
    session::support::{
        PIPE, Peer, SHAPES, client_frame, client_header, close, idle, lock, ping, text,
    },
};

/// Notes what it is told, and does what it is told to.
struct Told {
    lines: Arc<Mutex<Vec<String>>>,
    alive: Arc<AtomicUsize>,
}

impl Told {
    fn note(&self, line: impl Into<String>) {
        lock(&self.lines).push(line.into());
    }
}

impl Clone for Told {
    fn clone(&self) -> Self {
        self.alive.fetch_add(1, Relaxed);
        Self {
            lines: self.lines.clone(),
            alive: self.alive.clone(),
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Relaxed);
    }
}

impl EventHandler for Told {
    async fn on_open(&mut self, _: &Sender, head: &Parts) {
        if head.headers.contains_key("x-slow") {
            sleep(Duration::from_secs(1)).await;
        }
        self.note("open");
    }

    async fn on_text(&mut self, socket: &Sender, text: Utf8Bytes) {
        match text.as_str() {
            "close" => socket.close((CloseCode::NORMAL, "enough")),
            "abort" => {
                socket.abort();
                sleep(Duration::from_secs(1)).await;
            }
            "panic" => panic!("as ordered"),
            "sleep" => sleep(Duration::from_secs(1)).await,
            _ => {}
        }
        self.note(text.as_str());
    }

    async fn on_ping(&mut self, _: &Sender, _: Bytes) {
        self.note("ping");
    }

    async fn on_close(&mut self, socket: &Sender, frame: Option<CloseFrame>) {
        assert!(matches!(socket.send("late").await, Err(Error::Closed)));
        self.note(match frame {
            Some(frame) => format!("on_close {}", frame.code().as_u16()),
            None => "on_close".to_owned(),
        });
    }

    async fn on_error(&mut self, socket: &Sender, error: Error) {
        assert!(matches!(socket.send("late").await, Err(Error::Closed)));
        self.note(match error {
            Error::Protocol(_) => "on_error protocol",
            Error::Timeout(_) => "on_error timeout",
            Error::Io(_) => "on_error io",
            _ => "on_error",
        });
    }
}

/// What the peer does.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    /// Waits for a Close with this code.
    Closed(u16),
    /// Ends its side.
    Finish,
    /// Waits as long.
    Wait(u64),
    Drain(Drain),
    /// Lets the application abort, from outside.
    Abort,
}

use Step::{Abort, Closed, Finish, Send, Wait};

fn say(what: &str) -> Step {
    Send(text(what))
}

/// Its name, the settings, what the peer does, and the callbacks after the first.
type Ending = (&'static str, Config, Vec<Step>, &'static [&'static str]);

#[expect(clippy::too_many_lines, reason = "a table")]
fn endings() -> Vec<Ending> {
    let answer = || Send(close(1000, ""));
    let empty = || Send(client_frame(0x88, ""));
    let seconds = Duration::from_secs;
    let drain = || Step::Drain(Drain::default());
    let hasty = || Step::Drain(Drain::default().timeout(seconds(2)));
    let usual = Config::default;
    vec![
        (
            "the peer closes",
            usual(),
            vec![say("a"), Send(close(4000, "")), Closed(4000), Finish],
            &["a", "on_close 4000"],
        ),
        (
            "without a code",
            usual(),
            vec![say("a"), empty(), Closed(0), Finish],
            &["a", "on_close"],
        ),
        (
            "while a callback runs",
            usual(),
            vec![say("sleep"), say("b"), Send(close(4000, ""))],
            &["sleep", "b", "on_close 4000"],
        ),
        (
            "we close",
            usual(),
            vec![say("close"), Closed(1000), Send(close(1000, "")), Finish],
            &["close", "on_close 1000"],
        ),
        (
            "we close, data follows",
            usual(),
            vec![
                say("close"),
                say("b"),
                Send(ping("")),
                Closed(1000),
                answer(),
            ],
            &["close", "on_close 1000"],
        ),
        (
            "we close, data follows later",
            usual(),
            vec![
                say("close"),
                Closed(1000),
                say("b"),
                Send(ping("")),
                answer(),
            ],
            &["close", "ping", "on_close 1000"],
        ),
        (
            "we close, and the answer has no code",
            usual(),
            vec![say("close"), Closed(1000), empty()],
            &["close", "on_close"],
        ),
        (
            "we close, and the peer leaves",
            usual(),
            vec![say("close"), Closed(1000), Finish],
            &["close", "on_close"],
        ),
        (
            "we close, and nothing comes",
            usual(),
            vec![say("close"), Closed(1000), Wait(60)],
            &["close", "on_error timeout"],
        ),
        (
            "we close after the peer",
            usual(),
            vec![say("close"), Send(close(4000, ""))],
            &["close", "on_close 4000"],
        ),
        (
            "there is no callback",
            usual(),
            vec![
                Send(client_frame(0x82, "b")),
                Closed(1003),
                Send(close(1003, "")),
            ],
            &["on_close 1003"],
        ),
        (
            "a violation",
            usual(),
            vec![say("a"), Send(client_frame(0x83, "")), Closed(1002), Finish],
            &["a", "on_error protocol"],
        ),
        (
            "a violation after our Close",
            usual(),
            vec![
                say("close"),
                Closed(1000),
                Send(client_frame(0x83, "")),
                Finish,
            ],
            &["close", "on_error protocol"],
        ),
        (
            "a limit",
            usual().max_message_size(4),
            vec![say("abcd"), say("abcde"), Closed(1009), Finish],
            &["abcd", "on_error protocol"],
        ),
        (
            "silence",
            usual(),
            vec![say("a"), Wait(120)],
            &["a", "on_error timeout"],
        ),
        (
            "half a frame",
            usual(),
            vec![
                say("a"),
                Send(client_header(0x81, 5)),
                Wait(20),
                Send(b"a".into()),
                Wait(120),
            ],
            &["a", "on_error timeout"],
        ),
        (
            "idleness",
            usual().idle_timeout(seconds(5)),
            vec![say("a"), Closed(1001), answer(), Finish],
            &["a", "on_close 1000"],
        ),
        (
            "a lifetime",
            usual().max_lifetime(seconds(5)),
            vec![say("a"), Closed(1001), Finish],
            &["a", "on_close"],
        ),
        (
            "no first message",
            usual().first_message_timeout(seconds(5)),
            vec![Closed(1008), Wait(60)],
            &["on_error timeout"],
        ),
        (
            "a disconnect",
            usual(),
            vec![say("a"), Finish],
            &["a", "on_error io"],
        ),
        (
            "an abort by a callback",
            usual(),
            vec![say("a"), say("abort"), Wait(60)],
            &["a"],
        ),
        (
            "an abort from outside",
            usual(),
            vec![say("a"), say("sleep"), Wait(0), Abort],
            &["a"],
        ),
        (
            "a panic",
            usual(),
            vec![say("a"), say("panic"), Closed(1011), answer(), Finish],
            &["a"],
        ),
        (
            "a drain",
            usual(),
            vec![say("a"), drain(), Closed(1001), Send(close(1001, ""))],
            &["a", "on_close 1001"],
        ),
        (
            "the deadline of a drain",
            usual(),
            vec![say("a"), hasty(), Closed(1001), Wait(60)],
            &["a"],
        ),
    ]
}

#[tokio::test(start_paused = true)]
async fn last_callback_says_how_the_connection_ended() {
    for shape in SHAPES {
        for (name, config, steps, expected) in &endings() {
            for slow in [false, true] {
                let at = format!("{name}, over {shape:?}, slow: {slow}");
                if slow && (name.contains("abort from") || name.contains("deadline of")) {
                    continue;
                }
                println!("{at}");
                let told = Told {
                    lines: Arc::default(),
                    alive: Arc::new(AtomicUsize::new(1)),
                };
                let (lines, alive) = (told.lines.clone(), told.alive.clone());
                let connections = Connections::new();
                let service = WebSocketLayer::new(event_handler(told))
                    .config(config.clone())
                    .connections(&connections)
                    .endpoint();
                let (ours, theirs) = duplex(PIPE);
                let mut request = ask(shape);
                if slow {
                    let value = http::HeaderValue::from_static("1");
                    request.headers_mut().insert("x-slow", value);
                }
                request.extensions_mut().insert(OnUpgrade::new(theirs));
                service.oneshot(request).await.unwrap();
                let mut peer = Peer::new(ours);
                for step in steps {
                    run(step, &mut peer, &connections).await;
                }
                // The session ends before the peer is gone, or because of that.
                while peer.next().await.is_some_and(|frame| !frame.is_close()) {}
                drop(peer);
                until_gone(&connections).await;
                let mut all = vec!["open".to_owned()];
                all.extend(expected.iter().map(|line| (*line).to_owned()));
                assert_eq!(*lock(&lines), all, "{at}");
                assert_eq!(alive.load(Relaxed), 0, "{at}");
            }
        }
    }
}

async fn run(step: &Step, peer: &mut Peer, connections: &Connections) {
    match step {
        Send(bytes) => peer.send(bytes).await,
        Closed(code) => loop {
            let frame = peer.frame().await;
            if frame.is_close() {
                assert_eq!(frame.code().unwrap_or_default(), *code);
                break;
            }
        },
        Finish => peer.finish().await,
        Wait(seconds) => {
            idle().await;
            sleep(Duration::from_secs(*seconds)).await;
        }
        Step::Drain(drain) => {
            // What was sent before comes first.
            idle().await;
            sleep(Duration::from_secs(1)).await;
            let (connections, drain) = (connections.clone(), drain.clone());
            tokio::spawn(async move { connections.drain(drain).await });
        }
        Abort => connections.iter().for_each(|sender| sender.abort()),
    }
}

async fn until_gone(connections: &Connections) {
    sleep(Duration::from_secs(120)).await;
    until(|| connections.is_empty()).await;
}

#[test]
fn end_of_the_runtime_drops_callbacks_where_they_wait() {
    for shape in SHAPES {
        let told = Told {
            lines: Arc::default(),
            alive: Arc::new(AtomicUsize::new(1)),
        };
        let (lines, alive) = (told.lines.clone(), told.alive.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let peer = runtime.block_on(async {
            let (ours, theirs) = duplex(PIPE);
            let mut request = ask(shape);
            request.extensions_mut().insert(OnUpgrade::new(theirs));
            let service = WebSocketLayer::new(event_handler(told)).endpoint();
            service.oneshot(request).await.unwrap();
            let mut peer = Peer::new(ours);
            peer.send([text("a"), text("sleep")].concat()).await;
            idle().await;
            peer
        });
        drop(runtime);
        assert_eq!(*lock(&lines), ["open", "a"]);
        assert_eq!(alive.load(Relaxed), 0);
        drop(peer);
    }
}
