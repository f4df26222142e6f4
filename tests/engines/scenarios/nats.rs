//! NATS, alone and two of them.

use std::time::Duration;

use tokio::time::sleep;
use tower::BoxError;

use super::{Full, Kind::Nats, Scenario, Short, millis, scenario, seconds};
use crate::stage::Stage;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        scenario("nats: killed, back after 0.5 s", Nats(1), Short, |stage| {
            Box::pin(killed(stage, millis(500)))
        }),
        scenario("nats: killed, back after 4 s", Nats(1), Full, |stage| {
            Box::pin(killed(stage, seconds(4)))
        }),
        scenario("nats: killed, back after 40 s", Nats(1), Full, |stage| {
            Box::pin(killed(stage, seconds(40)))
        }),
        scenario("nats: stands still for 2 s", Nats(1), Full, |stage| {
            Box::pin(stopped(stage, seconds(2)))
        }),
        scenario("nats: stands still for 4 s", Nats(1), Full, |stage| {
            Box::pin(stopped(stage, seconds(4)))
        }),
        scenario("nats: stands still for 20 s", Nats(1), Full, |stage| {
            Box::pin(stopped(stage, seconds(20)))
        }),
        scenario(
            "nats: permissions taken away for 5 s",
            Nats(1),
            Full,
            |stage| {
                Box::pin(async {
                    stage.nats()[0].forbid("engines").await?;
                    sleep(seconds(5)).await;
                    stage.nats()[0].forbid("").await
                })
            },
        ),
        scenario(
            "nats: one of two killed, back after 4 s",
            Nats(2),
            Short,
            |stage| Box::pin(killed(stage, seconds(4))),
        ),
        scenario(
            "nats: one of two stands still for 20 s",
            Nats(2),
            Full,
            |stage| Box::pin(stopped(stage, seconds(20))),
        ),
    ]
}

async fn killed(stage: &mut Stage, away: Duration) -> Result<(), BoxError> {
    stage.nats()[0].process.kill();
    sleep(away).await;
    stage.nats()[0].start_again().await
}

async fn stopped(stage: &mut Stage, still: Duration) -> Result<(), BoxError> {
    stage.nats()[0].process.pause()?;
    sleep(still).await;
    stage.nats()[0].process.resume()
}
