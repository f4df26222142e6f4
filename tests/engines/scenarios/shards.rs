//! A Redis cluster: its masters die, change and move.

use tokio::time::sleep;
use tower::BoxError;

use super::{Full, Kind::Shards, Scenario, Short, millis, scenario, seconds};
use crate::{
    engine::shards::{MASTERS, SERVERS, slots_of},
    stage::Stage,
};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = one_master();
    all.extend(silent_master());
    all.extend(many_servers());
    all
}

/// What happens to one master.
fn one_master() -> Vec<Scenario> {
    vec![
        scenario(
            "cluster: a master killed, its replica takes over",
            Shards,
            Short,
            |stage| {
                Box::pin(async {
                    stage.shards().servers[0].redis.kill();
                    stage.shards().takes_over(0).await?;
                    stage.shards().servers[0].redis.start_again().await?;
                    stage.shards().agree(SERVERS).await
                })
            },
        ),
        scenario(
            "cluster: a master killed, back after 0.5 s",
            Shards,
            Full,
            |stage| {
                Box::pin(async {
                    stage.shards().servers[0].redis.kill();
                    sleep(millis(500)).await;
                    stage.shards().servers[0].redis.start_again().await?;
                    stage.shards().agree(SERVERS).await
                })
            },
        ),
        scenario(
            "cluster: another master, while the old one lives",
            Shards,
            Full,
            |stage| Box::pin(async { stage.shards().fail_over(0).await }),
        ),
    ]
}

/// A master is there, and answers nothing.
fn silent_master() -> Vec<Scenario> {
    vec![
        scenario(
            "cluster: a master stands still for 2 s",
            Shards,
            Full,
            |stage| {
                Box::pin(async {
                    // Less than what the others wait before they call it dead.
                    stage.shards().servers[0].redis.process().pause()?;
                    sleep(millis(1900)).await;
                    stage.shards().servers[0].redis.process().resume()?;
                    stage.shards().agree(SERVERS).await
                })
            },
        ),
        scenario(
            "cluster: a master stands still, its replica takes over",
            Shards,
            Full,
            |stage| {
                Box::pin(async {
                    stage.shards().servers[0].redis.process().pause()?;
                    stage.shards().takes_over(0).await?;
                    sleep(seconds(5)).await;
                    stage.shards().servers[0].redis.process().resume()?;
                    stage.shards().agree(SERVERS).await
                })
            },
        ),
    ]
}

/// What happens to slots, and to more than one server.
fn many_servers() -> Vec<Scenario> {
    vec![
        scenario(
            "cluster: a third of the slots moved",
            Shards,
            Short,
            |stage| Box::pin(async { stage.shards().move_slots(slots_of(0), 0, 1).await }),
        ),
        scenario(
            "cluster: a master added, and removed",
            Shards,
            Full,
            |stage| Box::pin(added_and_removed(stage)),
        ),
        scenario(
            "cluster: all servers killed, back after 4 s",
            Shards,
            Full,
            |stage| Box::pin(all_killed(stage)),
        ),
        scenario(
            "cluster: CLIENT KILL at every server, 20 times in 4 s",
            Shards,
            Full,
            |stage| {
                Box::pin(async {
                    for _ in 0..20 {
                        for server in &stage.shards().servers {
                            server.redis.kill_clients().await?;
                        }
                        sleep(millis(200)).await;
                    }
                    Ok(())
                })
            },
        ),
    ]
}

async fn all_killed(stage: &mut Stage) -> Result<(), BoxError> {
    let all = stage.shards();
    all.servers
        .iter_mut()
        .for_each(|server| server.redis.kill());
    sleep(seconds(4)).await;
    for server in &mut all.servers {
        server.redis.start_again().await?;
    }
    all.agree(SERVERS).await
}

async fn added_and_removed(stage: &mut Stage) -> Result<(), BoxError> {
    let directory = stage.directory.path().to_owned();
    let all = stage.shards();
    let new = all.add(&directory).await?;
    // A quarter of each other one.
    let quarters = (0..MASTERS).map(|master| {
        let slots = slots_of(master);
        (master, slots.start..slots.start + slots.len() as u16 / 4)
    });
    let quarters: Vec<_> = quarters.collect();
    for (master, slots) in &quarters {
        all.move_slots(slots.clone(), *master, new).await?;
    }
    sleep(seconds(3)).await;
    for (master, slots) in &quarters {
        all.move_slots(slots.clone(), new, *master).await?;
    }
    sleep(seconds(3)).await;
    all.remove_last().await
}
