//! A server that does what it must not: the table has to show each of it.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    load::Shape,
    scenario::{LOCAL, MEMORY, Scenario, Times},
    stage::Kind,
};

/// Without an engine, all clients are on one server.
const PLAIN: Scenario = Scenario {
    name: "no engine, one server",
    engine: Kind::Nothing { planted: false },
    needs: None,
    short: true,
    shape: Shape {
        groups: 8,
        members_per_group: 3,
        interval: Duration::from_millis(20),
        size: 100,
    },
    times: Times {
        calm: Duration::from_millis(300),
        whole_within: Duration::from_secs(20),
        left_within: Duration::from_secs(2),
    },
    may_lose: true,
    local: LOCAL,
    memory: MEMORY,
    fault: |_| {
        Box::pin(async {
            sleep(Duration::from_millis(500)).await;
            Ok(())
        })
    },
};

/// What has to be said if a fault of each kind is planted, and nothing else: one in each group, see `server::planted`.
const SAID: &[&str] = &[
    "doubled",
    "out of order",
    "lost by local members",
    "lost when all was whole again",
    "p99 of local members",
    "members with other losses than their neighbours",
    "node 0, group 1: ",
    "node 1, group 1: ",
    "a client of node 0, group 6: closed with",
    "a client of node 1, group 6: closed with",
    "nothing is left of the clients: not within 2s (tasks",
];

pub(super) async fn check() -> Vec<String> {
    let mut wrong = said(PLAIN).await;
    let planted = Scenario {
        engine: Kind::Nothing { planted: true },
        ..PLAIN
    };
    let said = said(planted).await;
    for expected in SAID {
        if !said.iter().any(|said| said.contains(expected)) {
            wrong.push(format!("planted: nobody says {expected:?}"));
        }
    }
    for said in said {
        let is_expected = SAID.iter().any(|expected| said.contains(expected));
        // The one that is out of its group misses what was sent meanwhile.
        if !is_expected && !said.contains("group 5: ") {
            wrong.push(format!("planted: what is {said:?}?"));
        }
    }
    wrong
}

async fn said(scenario: Scenario) -> Vec<String> {
    match scenario.perform().await {
        Ok(row) => row.wrong,
        Err(error) => vec![error.to_string()],
    }
}
