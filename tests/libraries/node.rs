//! npm's `graphql-ws`, which most browsers' GraphQL clients use, on the other end of async-graphql.
//!
//! It takes `node`, and `GRAPHQL_WS` with the folder where `npm install graphql-ws graphql ws` was run. Where that is not
//! set, the test says that it is skipped.

use std::{
    env,
    io::{self, Write},
    process::Stdio,
};

use tokio::process::Command;

use crate::{graphql, support::within};

#[tokio::test]
async fn npm_client_subscribes_and_is_closed() {
    let Ok(folder) = env::var("GRAPHQL_WS") else {
        // Not by `println`, which a test that passes is not heard with. On a line of its own, for `.ci/run`.
        let _unheard = writeln!(
            io::stdout(),
            "\nNOT RUN: graphql-ws of npm (GRAPHQL_WS does not say where it is)"
        );
        return;
    };
    let server = graphql::start().await;
    let url = format!("ws://{}/", server.address);
    let node = Command::new("node")
        .args(["--input-type=module", "--eval", SCRIPT, &url])
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = within(node).await.expect("node starts");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        said,
        "0 1 2\nagain: 0 1\nclosed: 4429 Too many initialisation requests.\n"
    );
    assert!(output.status.success());
}

/// Subscribes twice over one connection, and then breaks the protocol.
const SCRIPT: &str = r#"
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const url = process.argv.at(-1);
const client = createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0 });

async function numbers(end) {
    const got = [];
    const query = `subscription { numbers(end: ${end}) }`;
    for await (const result of client.iterate({ query })) got.push(result.data.numbers);
    return got.join(" ");
}

console.log(await numbers(3));
console.log("again: " + await numbers(2));
await client.dispose();

const socket = new WebSocket(url, "graphql-transport-ws");
const init = () => socket.send(JSON.stringify({ type: "connection_init" }));
socket.onopen = () => { init(); init(); };
socket.onclose = ({ code, reason }) => console.log(`closed: ${code} ${reason}`);
"#;
