//! A real Redis, where there is one: `.ci/engines` fetches it.

use std::{
    env,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use super::*;

/// A `redis-server` on a port of 127.0.0.1, gone when dropped.
pub(super) struct Real {
    process: Child,
    port: u16,
}

impl Real {
    /// Starts one with these users; `None` without the program, which it says.
    pub(super) async fn start(users: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("SKIPPED: redis-server not found; .ci/engines fetches it");
            let is_required = env::var("ENGINES").is_ok_and(|words| words.contains("required"));
            assert!(
                !is_required,
                "ENGINES=required, and there is no redis-server"
            );
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut command = Command::new(program);
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--port",
            &port.to_string(),
        ]);
        for user in users {
            command.arg("--user").args(user.split(' '));
        }
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        let real = Self { process, port };
        let started = std::time::Instant::now();
        while !real.answers().await {
            assert!(
                started.elapsed().as_secs() < 60,
                "redis-server does not answer"
            );
            sleep(std::time::Duration::from_millis(10)).await;
        }
        Some(real)
    }

    async fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)).await else {
            return false;
        };
        // `NOAUTH` is an answer, too.
        let asked = stream.write_all(b"PING\r\n").await.is_ok();
        asked && stream.read_u8().await.is_ok()
    }

    pub(super) fn url(&self, login: &str) -> String {
        format!("redis://{login}@127.0.0.1:{}/", self.port)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Returns the program that the environment names, or that was unpacked into cargo's target directory.
fn program() -> Option<PathBuf> {
    if let Some(named) = env::var_os("REDIS_SERVER") {
        return Some(named.into());
    }
    let this = env::current_exe().ok()?;
    let mut unpacked = this
        .ancestors()
        .map(|folder| folder.join("engines/redis-server"));
    unpacked.find(|program| program.is_file())
}

/// The least that the docs say a user needs, of whom `node` has it all.
pub(super) const USERS: [&str; 6] = [
    "node on >p1 resetchannels &shop:* -@all +publish +subscribe +unsubscribe +ping +hello",
    "some on >p2 resetchannels &shop:1:!:* &shop:1:rooms:lobby -@all +publish +subscribe +unsubscribe +ping +hello",
    "deaf on >p3 resetchannels &shop:* -@all +publish +ping +hello",
    "streams on >p4 resetchannels ~shop:* -@all +xadd +xread +xrevrange +select +ping +hello",
    "open on nopass resetchannels &shop:* -@all +publish +subscribe +unsubscribe +ping +hello",
    "default off",
];

fn count(node: &Node, counter: impl Fn(&crate::cluster::ClusterCounters) -> u64) -> u64 {
    counter(&node.hub.with(|state, _| state.core.counters()))
}

#[tokio::test]
async fn the_users_of_the_docs_have_what_they_need_and_others_are_told_what_they_lack() {
    let Some(real) = Real::start(&USERS).await else {
        return;
    };
    for (login, wrong) in [("node:wrong", "WRONGPASS"), ("nobody:p1", "WRONGPASS")] {
        let error = Node::new(Redis::new(&real.url(login)).unwrap())
            .run()
            .await
            .unwrap_err();
        assert!(
            error.is_denied() && error.in_words().contains(wrong),
            "{error:?}"
        );
    }
    // One without a password, and one who has a password that the URL has not.
    let open = Node::new(Redis::new(&real.url("open")).unwrap());
    open.run_until(|hub| hub.with(|state, _| state.core.is_connected()))
        .await;
    let error = Node::new(Redis::new(&real.url("node")).unwrap())
        .run()
        .await
        .unwrap_err();
    assert!(error.in_words().contains("WRONGPASS"), "{error:?}");
    let url = format!("redis://127.0.0.1:{}/", real.port);
    let error = Node::new(Redis::new(&url).unwrap())
        .run()
        .await
        .unwrap_err();
    assert!(
        error.is_denied() && error.in_words().contains("NOAUTH"),
        "{error:?}"
    );

    // One channel of four may not be seen.
    let some = Node::new(Redis::new(&real.url("some:p2")).unwrap());
    ["lobby", "secret"].iter().for_each(|key| some.join(key));
    some.publish("lobby", "a");
    some.publish("secret", "a");
    some.run_until(|_| {
        count(&some, |counters| counters.topics_subscribed) == 3
            && count(&some, |counters| counters.confirmed) == 1
            && count(&some, |counters| counters.refused.rejected) == 1
    })
    .await;
    // No channel at all.
    let deaf = Node::new(Redis::new(&real.url("deaf:p3")).unwrap());
    deaf.publish("lobby", "a");
    deaf.run_until(|_| count(&deaf, |counters| counters.confirmed) == 1)
        .await;
    assert_eq!(count(&deaf, |counters| counters.topics_subscribed), 0);
}

#[tokio::test]
async fn what_a_node_publishes_comes_back_to_it() {
    let Some(real) = Real::start(&USERS).await else {
        return;
    };
    let channels = Redis::new(&real.url("node:p1")).unwrap();
    let streams = Redis::streams(&(real.url("streams:p4") + "2")).unwrap();
    for redis in [channels, streams] {
        let node = Node::new(redis);
        node.join("lobby");
        let is_connected = |hub: &Hub| hub.with(|state, _| state.core.is_connected());
        let publish = async |node: &Node| {
            for number in 0..2000 {
                node.publish("lobby", &number.to_string());
            }
            // With the heartbeats. The last answers come by another connection than the echoes.
            node.wait_until(|_| {
                count(node, |counters| counters.own_echoes) >= 2001
                    && count(node, |counters| counters.confirmed) == 2000
            })
            .await;
        };
        node.run_until_and(is_connected, publish).await;
    }
}
