//! One Redis, killed, stopped, and unfriendly to its clients.

use std::time::Duration;

use tokio::time::sleep;
use tower::BoxError;

use super::{Full, Kind::Redis, Scenario, Short, millis, scenario, seconds};
use crate::{engine::until, load, scenario::MEMORY, stage::Stage};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = gone();
    all.extend(unfriendly());
    all
}

/// It is not there, or answers nothing.
fn gone() -> Vec<Scenario> {
    vec![
        scenario("redis: killed, back after 0.5 s", Redis, Short, |stage| {
            Box::pin(killed(stage, millis(500)))
        }),
        scenario("redis: killed, back after 4 s", Redis, Short, |stage| {
            Box::pin(killed(stage, seconds(4)))
        }),
        scenario("redis: killed, back after 40 s", Redis, Full, |stage| {
            Box::pin(killed(stage, seconds(40)))
        }),
        scenario("redis: stands still for 2 s", Redis, Short, |stage| {
            Box::pin(stopped(stage, seconds(2)))
        }),
        // So long that nodes connect anew, and send again what was not answered, but not so long that they give it up.
        scenario("redis: stands still for 4 s", Redis, Full, |stage| {
            Box::pin(stopped(stage, seconds(4)))
        }),
        scenario("redis: stands still for 20 s", Redis, Full, |stage| {
            Box::pin(stopped(stage, seconds(20)))
        }),
    ]
}

/// It runs, and yet does not do what it did.
fn unfriendly() -> Vec<Scenario> {
    vec![
        scenario(
            "redis: CLIENT KILL, 20 times in 4 s",
            Redis,
            Short,
            |stage| Box::pin(clients_killed(stage)),
        ),
        scenario(
            "redis: its channels forbidden for 5 s",
            Redis,
            Full,
            |stage| Box::pin(async { forbidden(stage, "resetchannels", "allchannels").await }),
        ),
        scenario(
            "redis: publishing forbidden for 5 s",
            Redis,
            Full,
            |stage| Box::pin(async { forbidden(stage, "-publish", "+publish").await }),
        ),
        Scenario {
            // A member of 100,000 groups takes most of it.
            memory: 4 * MEMORY,
            ..scenario(
                "redis: killed, back after 0.5 s, with 100,000 topics",
                Redis,
                Full,
                |stage| Box::pin(many_topics(stage)),
            )
        },
    ]
}

pub(super) async fn killed(stage: &mut Stage, away: Duration) -> Result<(), BoxError> {
    stage.redis().kill();
    sleep(away).await;
    stage.redis().start_again().await
}

pub(super) async fn stopped(stage: &mut Stage, still: Duration) -> Result<(), BoxError> {
    stage.redis().process().pause()?;
    sleep(still).await;
    stage.redis().process().resume()
}

pub(super) async fn clients_killed(stage: &mut Stage) -> Result<(), BoxError> {
    for _ in 0..20 {
        stage.redis().kill_clients().await?;
        sleep(millis(200)).await;
    }
    Ok(())
}

async fn forbidden(stage: &mut Stage, take: &str, give: &str) -> Result<(), BoxError> {
    stage
        .redis()
        .ask(&["ACL", "SETUSER", "default", take])
        .await?;
    sleep(seconds(5)).await;
    stage
        .redis()
        .ask(&["ACL", "SETUSER", "default", give])
        .await?;
    Ok(())
}

async fn many_topics(stage: &mut Stage) -> Result<(), BoxError> {
    const COUNT: u64 = 100_000;
    let _member = load::hold(stage.nodes[0].port, &format!("many/{COUNT}")).await?;
    killed(stage, millis(500)).await?;
    let node = &mut stage.nodes[0];
    until("all is subscribed", seconds(90), async || {
        let sample = node.ask("sample").await?;
        let subscribed = sample["cluster"]["topics_subscribed"].as_u64();
        Ok::<_, BoxError>(subscribed >= Some(COUNT))
    })
    .await
}
