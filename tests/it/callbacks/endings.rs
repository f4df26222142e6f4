//! Which callbacks are the last ones, however a connection ends.

use std::time::Duration;

use tokio::time::sleep;
use tower_websocket::{Config, Connections, MemoryBudget, session::Drain};

use super::{By, Notes, connect};
use crate::{
    crowd::until,
    memory_budget::push,
    session::support::{
        Peer, SHAPES, Shape, binary, client_frame, client_header, close, idle, ping, text,
    },
};

/// What the peer does.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    /// Waits for a Close with this code.
    Closed(u16),
    /// Ends its side.
    Finish,
    /// Sends a message of so many bytes, as far as it is read.
    Push(usize),
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
            "a panic of on_close",
            usual(),
            vec![
                say("panic last"),
                Send(close(4000, "")),
                Closed(4000),
                Finish,
            ],
            &["panic last", "on_close 4000"],
        ),
        (
            "a panic of on_error",
            usual(),
            vec![
                say("panic last"),
                Send(client_frame(0x83, "")),
                Closed(1002),
                Finish,
            ],
            &["panic last", "on_error protocol"],
        ),
        (
            "a panic of on_end",
            usual(),
            vec![
                say("panic at the end"),
                Send(close(4000, "")),
                Closed(4000),
                Finish,
            ],
            &["panic at the end", "on_close 4000"],
        ),
        (
            "a panic of on_end during another one",
            usual(),
            vec![
                say("panic at the end"),
                say("panic"),
                Closed(1011),
                answer(),
                Finish,
            ],
            &["panic at the end"],
        ),
        (
            "memory",
            usual()
                .memory_budget(&MemoryBudget::new(1 << 20))
                .ping_interval(None),
            vec![say("a"), Step::Push(1 << 20), Closed(1013), Finish],
            &["a", "on_error over budget"],
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
async fn last_callbacks_say_how_the_connection_ended() {
    for shape in SHAPES {
        for ending in &endings() {
            for slow in [false, true] {
                for by in By::ALL {
                    end(shape, ending, slow, by).await;
                }
            }
        }
    }
}

async fn end(shape: Shape, (name, config, steps, expected): &Ending, slow: bool, by: By) {
    let at = format!("{name}, over {shape:?}, slow: {slow}, by {by:?}");
    if slow && (name.contains("abort from") || name.contains("deadline of")) {
        return;
    }
    println!("{at}");
    let notes = Notes::default();
    let connections = Connections::new();
    let layer = by.layer(&notes).config(config.clone());
    let headers = if slow { &["x-slow"][..] } else { &[] };
    let mut peer = connect(layer.connections(&connections), shape, headers).await;
    for step in steps {
        run(step, &mut peer, &connections).await;
    }
    // The session ends before the peer is gone, or because of that.
    while peer.next().await.is_some_and(|frame| !frame.is_close()) {}
    drop(peer);
    until_gone(&connections).await;
    let all = [&["open"], *expected, &["end"]].concat();
    assert_eq!(notes.lines(), all, "{at}");
    assert_eq!(notes.alive(), 0, "{at}");
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
        Step::Push(bytes) => {
            let message = binary(vec![0; *bytes]);
            push(peer, &message[..message.len() - 1]).await;
        }
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
