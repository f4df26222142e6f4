//! Messages that arrive although connections break.

use std::sync::{Arc, Mutex};

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
    JoinHandle<Result<(), JsonError>>,
);

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
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"resume":0}"#);
    peer.send(r#"{"resume":0}"#).await.unwrap();
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"say":[1,"one"]}"#);
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"say":[2,"two"]}"#);
    peer.send(r#"{"ack":1}"#).await.unwrap();
    peer.send(r#"{"say":[1,"hello"]}"#).await.unwrap();
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"ack":1}"#);
    peer.abort();
    assert!(run.await.unwrap().is_err());
    assert_eq!(*heard.lock().unwrap(), ["hello"]);

    let (mut peer, heard, _run) = hold(&end);
    assert_eq!(peer.recv_text().await.unwrap(), r#"{"resume":1}"#);
    peer.send(r#"{"resume":1}"#).await.unwrap();
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
    assert_eq!(old.recv_text().await.unwrap(), r#"{"resume":0}"#);
    let (mut new, _, _run) = hold(&end);
    assert_eq!(new.recv_text().await.unwrap(), r#"{"resume":0}"#);
    old.closed().await;
    drop(run.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_side_that_has_forgotten_is_told() {
    for said in [
        r#"{"resume":3}"#,
        r#"{"resume":0}|{"say":[2,"x"]}"#,
        r#"{"resume":0}|{"ack":7}"#,
    ] {
        let (mut peer, _, _run) = hold(&Arc::new(End::default()));
        assert_eq!(peer.recv_text().await.unwrap(), r#"{"resume":0}"#);
        for packet in said.split('|') {
            peer.send(packet).await.unwrap();
        }
        let close = peer.recv_close().await.unwrap();
        assert_eq!(close.code(), FORGOTTEN, "{said}");
    }
    let fresh = CloseCode::new(4410);
    assert_eq!(fresh, Some(FORGOTTEN));
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
        assert_eq!(client.recv_text().await.unwrap(), r#"{"resume":0}"#);
        client.send(r#"{"resume":0}"#).await.unwrap();
        beats(&mut client).await;
    }
}
