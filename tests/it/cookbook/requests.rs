//! Requests and answers over one socket.

use std::{future::pending, time::Duration};

use serde_json::{Value, json};
use tokio::{
    join,
    time::{Instant, sleep, timeout},
};
use tower_websocket::{
    CloseCode, Config, WebSocket,
    testing::{self, Empty, TestRequest, WebSocketExt},
};

use super::beats;

#[path = "../../../examples/cookbook/requests.rs"]
#[expect(dead_code, reason = "the example is a program")]
mod example;

use example::{AT_ONCE, CallError, PATIENCE, app, calls};

async fn both(test: impl AsyncFn(TestRequest<Empty>)) {
    test(testing::request("/")).await;
    test(testing::request("/").http2()).await;
}

async fn name(ask: String, _: Value) -> Result<Value, String> {
    match ask.as_str() {
        "name" => Ok(json!("ada")),
        _ => Err("no".to_owned()),
    }
}

async fn never(_: String, _: Value) -> Result<Value, String> {
    pending().await
}

#[tokio::test(start_paused = true)]
async fn answers_come_to_their_calls_in_any_order() {
    both(async |request| {
        let (_, socket) = testing::connect(app(), request).await.unwrap();
        let (calls, run) = calls(socket, name);
        tokio::spawn(run);
        let start = Instant::now();
        let (slow, sum, wrong, unknown) = join!(
            calls.call("wait", json!(3000)),
            async {
                let sum = calls.call("add", json!([1, 2])).await;
                assert!(start.elapsed() < Duration::from_secs(1));
                sum
            },
            calls.call("add", json!("x")),
            calls.call("fly", Value::Null),
        );
        assert_eq!((slow, sum), (Ok(json!(3000)), Ok(json!(3))));
        assert!(matches!(wrong, Err(CallError::Failed(_))), "{wrong:?}");
        assert!(matches!(unknown, Err(CallError::Failed(_))), "{unknown:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn server_asks_the_client() {
    both(async |request| {
        let (_, mut client) = testing::connect(app(), request).await.unwrap();
        let asked = client.recv_text().await.unwrap();
        assert_eq!(asked, r#"{"id":1,"ask":"name","with":null}"#);
        client.send(r#"{"id":1,"answer":"ada"}"#).await.unwrap();
        client
            .send(r#"{"id":5,"ask":"add","with":[4,5]}"#)
            .await
            .unwrap();
        assert_eq!(client.recv_text().await.unwrap(), r#"{"id":5,"answer":9}"#);
        client.send("{}").await.unwrap();
        assert_eq!(
            client.recv_close().await.unwrap().code(),
            CloseCode::INVALID_PAYLOAD
        );
    })
    .await;
}

fn talking() -> (example::Calls, WebSocket) {
    let (client, server) = testing::pair(Config::default());
    let (calls, run) = calls(client, never);
    tokio::spawn(run);
    (calls, server)
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_times_out_and_a_late_answer_is_passed_over() {
    let (calls, mut server) = talking();
    let start = Instant::now();
    assert_eq!(
        calls.call("late", Value::Null).await,
        Err(CallError::TimedOut)
    );
    assert_eq!(start.elapsed(), PATIENCE);
    server.recv_text().await.unwrap();
    server.send(r#"{"id":1,"answer":1}"#).await.unwrap();
    let (second, ()) = join!(calls.call("again", Value::Null), async {
        server.recv_text().await.unwrap();
        server.send(r#"{"id":2,"answer":2}"#).await.unwrap();
    });
    assert_eq!(second, Ok(json!(2)));
}

#[tokio::test(start_paused = true)]
async fn pending_calls_fail_at_the_end_and_later_ones_at_once() {
    for clean in [true, false] {
        let (calls, mut server) = talking();
        let (first, second, ()) = join!(
            calls.call("a", Value::Null),
            calls.call("b", Value::Null),
            async {
                server.recv_text().await.unwrap();
                server.recv_text().await.unwrap();
                match clean {
                    true => server.close(CloseCode::NORMAL),
                    false => server.abort(),
                }
            }
        );
        assert_eq!(
            (first, second),
            (Err(CallError::Ended), Err(CallError::Ended))
        );
        let start = Instant::now();
        assert_eq!(calls.call("c", Value::Null).await, Err(CallError::Ended));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_are_in_flight_than_may_be() {
    let (calls, mut server) = talking();
    for _ in 0..=AT_ONCE {
        let calls = calls.clone();
        tokio::spawn(async move { calls.call("a", Value::Null).await });
    }
    for number in 1..=AT_ONCE {
        let asked = server.recv_text().await.unwrap();
        assert_eq!(
            *asked,
            *format!(r#"{{"id":{number},"ask":"a","with":null}}"#)
        );
    }
    // The next one waits for one of these.
    let next = timeout(Duration::from_secs(1), server.recv_text()).await;
    assert!(next.is_err(), "{next:?}");
    server.send(r#"{"id":3,"answer":3}"#).await.unwrap();
    let asked = server.recv_text().await.unwrap();
    assert_eq!(
        *asked,
        *format!(r#"{{"id":{},"ask":"a","with":null}}"#, AT_ONCE + 1)
    );
}

#[tokio::test(start_paused = true)]
async fn one_question_too_many_is_refused() {
    let (_calls, mut server) = talking();
    for id in 1..=AT_ONCE + 1 {
        server
            .send(format!(r#"{{"id":{id},"ask":"a","with":null}}"#))
            .await
            .unwrap();
    }
    let refused = server.recv_text().await.unwrap();
    assert_eq!(
        *refused,
        *format!(r#"{{"id":{},"error":"busy"}}"#, AT_ONCE + 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_hangs_is_given_up_and_makes_room() {
    let (_calls, mut server) = talking();
    let start = Instant::now();
    for round in 0..2 {
        for id in 1..=AT_ONCE {
            let ask = format!(r#"{{"id":{id},"ask":"a","with":null}}"#);
            server.send(ask).await.unwrap();
        }
        for _ in 0..AT_ONCE {
            let failed = server.recv_text().await.unwrap();
            assert!(failed.ends_with(r#","error":"took too long"}"#), "{failed}");
        }
        assert_eq!(start.elapsed(), (round + 1) * PATIENCE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_and_does_not_read_is_closed() {
    let (client, mut server) = testing::pair(Config::default().max_send_queue(1000));
    let (_calls, run) = calls(client, never);
    tokio::spawn(run);
    let sender = server.sender();
    let asking = async {
        for _ in 0..20_000 {
            let ask = r#"{"id":1,"ask":"a","with":null}"#;
            if sender.send(ask).await.is_err() {
                break;
            }
        }
    };
    let reading = async {
        sleep(Duration::from_secs(1)).await;
        let end = async { while server.recv().await.unwrap().is_some() {} };
        timeout(PATIENCE, end).await.unwrap();
        server.received_close().unwrap().code()
    };
    assert_eq!(join!(asking, reading).1, CloseCode::POLICY_VIOLATION);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_makes_room() {
    let (calls, mut server) = talking();
    for _ in 0..3 * AT_ONCE {
        let call = calls.call("a", Value::Null);
        tokio::select! {
            biased;
            _ = call => unreachable!("it is not answered"),
            asked = server.recv_text() => drop(asked.unwrap()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_only_sends_heartbeats_stays() {
    both(async |request| {
        let (_, mut client) = testing::connect(app(), request).await.unwrap();
        client.recv_text().await.unwrap(); // what it is asked
        beats(&mut client).await;
    })
    .await;
}
