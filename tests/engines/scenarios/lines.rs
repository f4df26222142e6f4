//! The line between one node and its engine: cut, silent, slow.

use std::time::Duration;

use tokio::time::sleep;
use tower::BoxError;

use super::{Full, Scenario, Shape, millis, scenario, seconds};
use crate::{
    proxy::Mode,
    stage::{Kind, Stage},
};

pub(super) fn all() -> Vec<Scenario> {
    let mut redis = of(
        Kind::Redis,
        [
            "redis: one node cut off for 2 s",
            "redis: one node in a black hole for 20 s",
            "redis: one node hears nothing for 4 s",
            "redis: one node hears nothing for 20 s",
            "redis: one node is not heard for 20 s",
            "redis: one node 200 ms away",
            "redis: one node cut off every 0.3 s, for 6 s",
            "redis: one node has 1 MB/s for 4 MB/s, 15 s",
        ],
    );
    redis[0].short = true;
    redis[2].short = true;
    redis.extend(of(
        Kind::Nats(1),
        [
            "nats: one node cut off for 2 s",
            "nats: one node in a black hole for 20 s",
            "nats: one node hears nothing for 4 s",
            "nats: one node hears nothing for 20 s",
            "nats: one node is not heard for 20 s",
            "nats: one node 200 ms away",
            "nats: one node cut off every 0.3 s, for 6 s",
            "nats: one node has 1 MB/s for 4 MB/s, 15 s",
        ],
    ));
    redis
}

fn of(
    engine: Kind,
    [cut, hole, hard_of_hearing, deaf, mute, far, flaps, narrow]: [&'static str; 8],
) -> Vec<Scenario> {
    vec![
        scenario(cut, engine, Full, |stage| {
            Box::pin(during(stage, Mode::Cut, seconds(2)))
        }),
        scenario(hole, engine, Full, |stage| {
            Box::pin(during(stage, Mode::BlackHole, seconds(20)))
        }),
        // What it has sent came, and is sent again because it does not know: nobody may hear it twice.
        scenario(hard_of_hearing, engine, Full, |stage| {
            Box::pin(during(stage, Mode::OnlyToEngine, seconds(4)))
        }),
        scenario(deaf, engine, Full, |stage| {
            Box::pin(during(stage, Mode::OnlyToEngine, seconds(20)))
        }),
        scenario(mute, engine, Full, |stage| {
            Box::pin(during(stage, Mode::OnlyFromEngine, seconds(20)))
        }),
        scenario(far, engine, Full, |stage| {
            Box::pin(during(stage, Mode::Delay(millis(200)), seconds(6)))
        }),
        scenario(flaps, engine, Full, |stage| {
            Box::pin(async {
                for _ in 0..10 {
                    during(stage, Mode::Cut, millis(300)).await?;
                    sleep(millis(300)).await;
                }
                Ok(())
            })
        }),
        Scenario {
            shape: MUCH,
            ..scenario(narrow, engine, Full, |stage| {
                Box::pin(during(stage, Mode::Throttle(1 << 20), seconds(15)))
            })
        },
    ]
}

pub(super) async fn during(stage: &mut Stage, mode: Mode, time: Duration) -> Result<(), BoxError> {
    stage.line(0, mode);
    sleep(time).await;
    stage.line(0, Mode::Pass);
    Ok(())
}

/// Each node sends 4 MB a second, and as much comes from the other one.
const MUCH: Shape = Shape {
    groups: 100,
    members_per_group: 1,
    interval: Duration::from_millis(250),
    size: 10_000,
};
