//! Messages that arrive although connections break.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_websocket::{
    CloseCode, Config, WebSocket,
    json::JsonError,
    testing::{self, Empty, TestRequest, WebSocketExt},
};

use super::beats;

#[path = "../../../examples/cookbook/resend.rs"]
#[expect(dead_code, reason = "the example is a program")]
mod example;

use example::{End, Ends, FORGOTTEN, MAX_KEPT, app};

const COUNT: usize = 20;

fn request(http2: bool) -> TestRequest<Empty> {
    let request = testing::request("/talk/secret");
    if http2 { request.http2() } else { request }
}

/// Both sides say as much; each connection is cut when the client has heard so many.
async fn talk(http2: bool, cut: usize) -> Vec<String> {
    let ends = Ends::default();
    let end = End::default();
    for number in 0..COUNT {
        assert!(end.say(format!("{number}")));
    }
    let mut all = vec![];
    for _connection in 0..COUNT + 1 {
        if all.len() == COUNT {
            break;
        }
        let (_, socket) = testing::connect(app(&ends), request(http2)).await.unwrap();
        let (sender, mut left) = (socket.sender(), cut);
        let _cut = end
            .run(socket, |text| {
                all.push(text);
                left = usize::saturating_sub(left, 1); // what has come already is heard all the same
                if left == 0 || all.len() == COUNT {
                    sender.abort();
                }
            })
            .await;
    }
    all
}

#[tokio::test(start_paused = true)]
async fn everything_is_heard_once_and_in_order_wherever_it_is_cut() {
    let expected: Vec<_> = (0..COUNT)
        .map(|number| format!("{number}, heard"))
        .collect();
    for http2 in [false, true] {
        for cut in 1..=COUNT {
            assert_eq!(talk(http2, cut).await, expected, "cut after {cut}");
        }
    }
}

/// A peer by hand, what an end hears of it, and how that ends.
type Held = (
    WebSocket,
    Arc<Mutex<Vec<String>>>,
    JoinHandle<Result<bool, JsonError>>,
);

/// Which memory the peer by hand is.
const PEER: u64 = 7;

/// Receives the first of an end, which says as whom it knows the peer and what it has heard; returns which memory it is.
async fn resumed(peer: &mut WebSocket, you: Option<u64>, heard: u64) -> u64 {
    let first: Value = serde_json::from_str(&peer.recv_text().await.unwrap()).unwrap();
    let me = first["resume"]["me"].as_u64().unwrap();
    let expected = json!({ "resume": { "me": me, "you": you, "heard": heard } });
    assert_eq!(first, expected);
    assert!(me < 1 << 53);
    me
}

async fn resume(peer: &WebSocket, me: u64, you: Option<u64>, heard: u64) {
    let first = json!({ "resume": { "me": me, "you": you, "heard": heard } });
    peer.send(first.to_string()).await.unwrap();
}

fn hold(end: &Arc<End>) -> Held {
    let (peer, socket) = testing::pair(Config::default());
    let heard = Arc::new(Mutex::new(vec![]));
    let (end, held) = (end.clone(), heard.clone());
    let run = tokio::spawn(async move {
        end.run(socket, |text| held.lock().unwrap().push(text))
            .await
    });
    (peer, heard, run)
}

#[tokio::test(start_paused = true)]
async fn what_is_not_acknowledged_comes_again_and_what_came_twice_is_heard_once() {
    let end = Arc::new(End::default());
    assert!(end.say("one") && end.say("two"));
    let (mut peer, heard, run) = hold(&end);
    let me = resumed(&mut peer, None, 0).await;
    resume(&peer, PEER, None, 0).await;
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"say":[1,"one"]}"#);
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"say":[2,"two"]}"#);
    peer.send(r#"{"ack":1}"#).await.unwrap();
    peer.send(r#"{"say":[1,"hello"]}"#).await.unwrap();
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"ack":1}"#);
    peer.abort();
    assert!(run.await.unwrap().is_err());
    assert_eq!(*heard.lock().unwrap(), ["hello"]);

    let (mut peer, heard, _run) = hold(&end);
    assert_eq!(resumed(&mut peer, Some(PEER), 1).await, me);
    resume(&peer, PEER, Some(me), 1).await;
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"say":[2,"two"]}"#);
    peer.send(r#"{"say":[1,"hello"]}"#).await.unwrap();
    peer.send(r#"{"say":[2,"again"]}"#).await.unwrap();
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"ack":2}"#);
    assert_eq!(*heard.lock().unwrap(), ["again"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_ends_the_one_before() {
    let end = Arc::new(End::default());
    let (mut old, _, run) = hold(&end);
    resumed(&mut old, None, 0).await;
    let (mut new, _, _run) = hold(&end);
    resumed(&mut new, None, 0).await;
    old.closed().await;
    drop(run.await.unwrap());
}

/// Brings two ends together until `done`, and returns what each of them made of it.
async fn meet(one: &Arc<End>, other: &Arc<End>, done: impl Fn() -> bool) -> [Option<bool>; 2] {
    let (left, right) = testing::pair(Config::default());
    let sender = left.sender();
    let run = async |end: &Arc<End>, socket| {
        let cut = |_| {
            if done() {
                sender.abort();
            }
        };
        end.run(socket, cut).await.ok()
    };
    let (one, other) = tokio::join!(run(one, left), run(other, right));
    [one, other]
}

#[tokio::test(start_paused = true)]
async fn an_end_that_begins_anew_under_the_same_name_is_noticed() {
    // Either side is the one that has forgotten, with less and with more said than before.
    for (first, says) in [(true, 3), (false, 3), (true, 9), (false, 9)] {
        let (one, other) = (Arc::new(End::default()), Arc::new(End::default()));
        for number in 0..5 {
            assert!(one.say(format!("{number}")) && other.say(format!("{number}")));
        }
        let heard = AtomicUsize::new(0);
        let all = || heard.fetch_add(1, Relaxed) == 9;
        let cut = meet(&one, &other, all).await;
        assert!(!cut.contains(&Some(false)), "{cut:?}");

        let anew = Arc::new(End::default());
        for number in 0..says {
            assert!(anew.say(format!("new {number}")));
        }
        let nothing = || panic!("heard of another memory");
        let ended = match first {
            true => meet(&anew, &other, nothing).await,
            false => meet(&one, &anew, nothing).await,
        };
        assert_eq!(ended, [Some(false), Some(false)], "{first} {says}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_closed() {
    type Breach = fn(u64) -> Vec<Value>;
    let breaches: [Breach; 7] = [
        |_| vec![json!({ "say": [1, "x"] })],
        // It has heard of this one, and does not know which it was; or it was another one; or more than was said.
        |_| vec![json!({ "resume": { "me": PEER, "you": null, "heard": 1 } })],
        |me| vec![json!({ "resume": { "me": PEER, "you": me ^ 1, "heard": 0 } })],
        |me| vec![json!({ "resume": { "me": PEER, "you": me, "heard": 3 } })],
        |me| {
            let resume = json!({ "resume": { "me": PEER, "you": me, "heard": 0 } });
            vec![resume.clone(), resume]
        },
        |me| {
            let resume = json!({ "resume": { "me": PEER, "you": me, "heard": 0 } });
            vec![resume, json!({ "say": [2, "x"] })]
        },
        |me| {
            let resume = json!({ "resume": { "me": PEER, "you": me, "heard": 0 } });
            vec![resume, json!({ "ack": 3 })]
        },
    ];
    for (number, breach) in breaches.into_iter().enumerate() {
        let end = Arc::new(End::default());
        assert!(end.say("one") && end.say("two"));
        let (mut peer, _, run) = hold(&end);
        let me = resumed(&mut peer, None, 0).await;
        for packet in breach(me) {
            peer.send(packet.to_string()).await.unwrap();
        }
        while peer.recv().await.unwrap().is_some() {}
        let close = peer.received_close().unwrap();
        assert_eq!(close.code(), FORGOTTEN, "breach {number}");
        assert!(!run.await.unwrap().unwrap());
    }
    let fresh = CloseCode::new(4410);
    assert_eq!(fresh, Some(FORGOTTEN));
}

#[tokio::test(start_paused = true)]
async fn too_high_an_acknowledgement_discards_nothing() {
    let end = Arc::new(End::default());
    assert!(end.say("one"));
    let (mut peer, _, run) = hold(&end);
    let me = resumed(&mut peer, None, 0).await;
    resume(&peer, PEER, Some(me), u64::MAX).await;
    assert_eq!(peer.recv_close().await.unwrap().code(), FORGOTTEN);
    assert!(!run.await.unwrap().unwrap());

    let (mut peer, _, _run) = hold(&end);
    resumed(&mut peer, None, 0).await; // nor is the peer known by it
    resume(&peer, PEER, Some(me), 0).await;
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"say":[1,"one"]}"#);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded() {
    let end = End::default();
    for _ in 0..MAX_KEPT {
        assert!(end.say("a"));
    }
    assert!(!end.say("one too many"));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_only_sends_heartbeats_stays() {
    for http2 in [false, true] {
        let ends = Ends::default();
        let (_, mut client) = testing::connect(app(&ends), request(http2)).await.unwrap();
        resumed(&mut client, None, 0).await;
        resume(&client, PEER, None, 0).await;
        beats(&mut client).await;
    }
}
