//! Nodes that die, that are replaced, and that stand still.

use tokio::time::sleep;

use super::{Full, Kind, Scenario, millis, scenario, seconds};

pub(super) fn all() -> Vec<Scenario> {
    let mut all = of(
        Kind::Redis,
        [
            "redis: a node killed, back after 0.5 s",
            "redis: the nodes replaced one after the other",
            "redis: a node stands still for 5 s",
        ],
    );
    all[0].short = true;
    all.extend(of(
        Kind::Nats(1),
        [
            "nats: a node killed, back after 0.5 s",
            "nats: the nodes replaced one after the other",
            "nats: a node stands still for 5 s",
        ],
    ));
    all
}

fn of(engine: Kind, [killed, replaced, still]: [&'static str; 3]) -> Vec<Scenario> {
    vec![
        scenario(killed, engine, Full, |stage| {
            Box::pin(async {
                stage.kill_node(0).await?;
                sleep(millis(500)).await;
                stage.start_node(0).await
            })
        }),
        scenario(replaced, engine, Full, |stage| {
            Box::pin(async {
                stage.replace_node(0).await?;
                stage.replace_node(1).await
            })
        }),
        Scenario {
            // They wait for their own server.
            local: seconds(30),
            ..scenario(still, engine, Full, |stage| {
                Box::pin(async {
                    stage.nodes[0].pause()?;
                    sleep(seconds(5)).await;
                    stage.nodes[0].resume()
                })
            })
        },
    ]
}
