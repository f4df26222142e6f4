//! One Redis whose streams carry the messages: what a node has not heard is still there.

use super::{
    Full,
    Kind::Streams,
    Scenario, Short,
    lines::during,
    millis,
    redis::{clients_killed, killed, stopped},
    scenario, seconds,
};
use crate::proxy::Mode;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        whole(scenario(
            "streams: one node cut off for 2 s",
            Streams,
            Short,
            |stage| Box::pin(during(stage, Mode::Cut, seconds(2))),
        )),
        whole(scenario(
            "streams: CLIENT KILL, 20 times in 4 s",
            Streams,
            Full,
            |stage| Box::pin(clients_killed(stage)),
        )),
        whole(scenario(
            "streams: stands still for 2 s",
            Streams,
            Full,
            |stage| Box::pin(stopped(stage, seconds(2))),
        )),
        // Longer than what a node sends is kept.
        scenario(
            "streams: one node in a black hole for 20 s",
            Streams,
            Full,
            |stage| Box::pin(during(stage, Mode::BlackHole, seconds(20))),
        ),
        // It saves nothing: its streams are gone with it.
        scenario(
            "streams: killed, back after 0.5 s",
            Streams,
            Full,
            |stage| Box::pin(killed(stage, millis(500))),
        ),
        scenario("streams: killed, back after 4 s", Streams, Full, |stage| {
            Box::pin(killed(stage, seconds(4)))
        }),
    ]
}

/// Nothing is lost.
fn whole(scenario: Scenario) -> Scenario {
    Scenario {
        may_lose: false,
        ..scenario
    }
}
