//! A master and its replica: one takes over from the other.

use super::{Full, Kind::Sentinels, Scenario, Short, scenario};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        scenario(
            "sentinel: another master, while the old one lives",
            Sentinels,
            Short,
            |stage| Box::pin(async { stage.sentinels().fail_over().await }),
        ),
        scenario("sentinel: the master killed", Sentinels, Full, |stage| {
            Box::pin(async {
                stage.sentinels().servers[0].kill();
                stage.sentinels().becomes_master(1).await?;
                stage.sentinels().servers[0].start_again().await
            })
        }),
        scenario(
            "sentinel: the master stands still",
            Sentinels,
            Full,
            |stage| {
                Box::pin(async {
                    stage.sentinels().servers[0].process().pause()?;
                    stage.sentinels().becomes_master(1).await?;
                    stage.sentinels().servers[0].process().resume()?;
                    // Until the Sentinels have told it, it calls itself the master.
                    stage.sentinels().follows(0).await
                })
            },
        ),
    ]
}
