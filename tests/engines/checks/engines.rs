//! What the harness does to engines has happened when it says so.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tower::BoxError;

use crate::engine::{
    Directory, find,
    nats::Nats,
    redis::Redis,
    sentinel::Sentinels,
    shards::{Shards, slots_of},
};

pub(super) async fn check() -> Vec<String> {
    let mut wrong = Vec::new();
    let mut see = |what: &str, result: Result<(), BoxError>| {
        wrong.extend(result.err().map(|error| format!("{what}: {error}")));
    };
    if find("redis-server").is_some() {
        see("redis", redis().await);
        see("sentinels", sentinels().await);
        see("shards", shards().await);
    }
    if find("nats-server").is_some() {
        see("nats", nats().await);
    }
    wrong
}

async fn redis() -> Result<(), BoxError> {
    let directory = Directory::new("check")?;
    let mut redis = Redis::start(directory.path(), &[]).await?;
    redis.kill();
    is(
        redis.ask(&["PING"]).await.is_err(),
        "it answers, and was killed",
    )?;
    redis.start_again().await?;
    redis.process().pause()?;
    let asked = timeout(Duration::from_millis(200), redis.ask(&["PING"])).await;
    is(asked.is_err(), "it answers, and stands still")?;
    redis.process().resume()?;
    redis.answers().await?;
    redis.kill_clients().await
}

async fn sentinels() -> Result<(), BoxError> {
    let directory = Directory::new("check")?;
    let mut them = Sentinels::start(directory.path()).await?;
    them.fail_over().await?;
    is(them.master().await? == 1, "the master is the same")?;
    // The old one has to be a replica again before it can take over.
    them.follows(0).await?;
    them.servers[1].kill();
    them.becomes_master(0).await?;
    them.servers[1].start_again().await
}

async fn shards() -> Result<(), BoxError> {
    let directory = Directory::new("check")?;
    let mut them = Shards::start(directory.path()).await?;
    them.move_slots(0..100, 0, 1).await?;
    let new = them.add(directory.path()).await?;
    // Not all: a master without slots becomes a replica.
    let slots = slots_of(2).start..slots_of(2).end - 1;
    them.move_slots(slots.clone(), 2, new).await?;
    them.move_slots(slots, new, 2).await?;
    them.remove_last().await?;
    them.fail_over(0).await?;
    them.servers[1].redis.kill();
    them.takes_over(1).await?;
    them.servers[1].redis.start_again().await?;
    them.agree(6).await
}

async fn nats() -> Result<(), BoxError> {
    let directory = Directory::new("check")?;
    let mut two = Nats::start(directory.path(), 2).await?;
    two[0].process.kill();
    is(
        timeout(Duration::from_millis(200), two[0].ping())
            .await
            .is_ok_and(|it| it.is_err()),
        "it answers",
    )?;
    two[0].start_again().await?;
    is(
        comes_through(two[0].port).await?,
        "what is published does not come",
    )?;
    two[0].forbid("engines").await?;
    is(
        !comes_through(two[0].port).await?,
        "what is forbidden comes",
    )?;
    two[0].forbid("").await?;
    is(
        comes_through(two[0].port).await?,
        "what is permitted again does not come",
    )
}

/// Reports whether what is published comes to who has subscribed.
async fn comes_through(port: u16) -> Result<bool, BoxError> {
    let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).await?);
    let talk =
        "CONNECT {\"verbose\":false}\r\nSUB engines.1 1\r\nPUB engines.1 2\r\nhi\r\nPING\r\n";
    stream.write_all(talk.as_bytes()).await?;
    let mut said = String::new();
    while !said.ends_with("PONG\r\n") {
        if stream.read_line(&mut said).await? == 0 {
            return Err("it has ended the connection".into());
        }
    }
    Ok(said.contains("MSG engines.1"))
}

fn is(good: bool, what: &str) -> Result<(), BoxError> {
    match good {
        true => Ok(()),
        false => Err(what.into()),
    }
}
