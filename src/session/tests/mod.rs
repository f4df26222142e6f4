//! The same walk drives a connection without I/O and a session: what they send, deliver and report has
//! to be equal.
//!
//! What only a session has, because it has a transport, is kept out of the walk: it sends less than a
//! second's worth of bytes, and a Close that waits to be written leaves at once or not at all.
//!
//! - `TWIN_SEEDS`: how many walks are made (1000);
//! - `TWIN_SEED`: this one alone.

mod line;
mod walk;

use std::{collections::HashSet, env, time::Duration};

use tokio::runtime::Builder;

use self::walk::{Walk, now};
use super::report::EndedBy;
use crate::{
    compression::Compression,
    config::Config,
    protocol::{
        Role, State,
        test_support::{Random, from_client},
    },
};

/// Settings under which much happens in a short walk.
fn config(random: &mut Random) -> Config {
    let mut seconds = |most: usize| Duration::from_millis(500 + random.below(most * 1000) as u64);
    let config = Config::default()
        .ping_interval(seconds(4))
        .ping_timeout(seconds(6))
        .frame_timeout(seconds(10))
        .write_timeout(seconds(20))
        .idle_timeout(seconds(40))
        .first_message_timeout(seconds(40))
        .max_lifetime(seconds(120))
        .close_timeout(seconds(5) + Duration::from_secs(1))
        .max_message_size(900)
        .auto_pong(random.below(4) > 0)
        .control_frame_rate(1 + random.below(20) as u32)
        .control_frame_burst(3 + random.below(20) as u32)
        .fragment_size([None, Some(20), Some(100)][random.below(3)])
        .streaming(false);
    match random.below(3) {
        0 => config,
        1 => config.compression(Compression::shared().threshold(40)),
        _ => config.compression(Compression::dedicated().threshold(40)),
    }
}

/// Drives both through one walk; returns what ended both.
async fn walk(seed: u64) -> EndedBy {
    let mut random = Random(seed);
    let role = [Role::Server, Role::Client][random.below(2)];
    let config = config(&mut random);
    let steps = random.below(160);
    // In every third walk the handler itself does what is done, with what it is lent.
    let mut walk = Walk::new(seed, role, config, random, seed % 3 == 2);
    for _ in 0..steps {
        if walk.is_finished() {
            break;
        }
        walk.step().await;
        walk.compare();
    }
    walk.end()
}

/// Runs a walk under a clock that moves only when it is told to.
fn run<T>(walk: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O is made");
    runtime.block_on(walk)
}

#[test]
fn a_pong_behind_our_close_puts_the_end_off_in_neither() {
    let config = Config::default().close_timeout(Duration::from_secs(5));
    run(async {
        let mut walk = Walk::new(0, Role::Server, config, Random(0), false);
        // Of 18 pings 15 are answered at once, and the newest when those pongs have left.
        walk.arrive(&from_client(0x89, &[1; 125]).repeat(18), now());
        walk.transmit(now());
        walk.close();
        walk.take(usize::MAX);
        walk.transmit(now());
        walk.wait(5_001).await;
        walk.compare();
        assert_eq!(walk.state(), State::Closed);
        assert_eq!(walk.end(), EndedBy::Local);
    });
}

#[test]
fn connection_and_session_send_deliver_and_report_the_same() {
    let number = |name: &str| env::var(name).ok()?.parse().ok();
    let (first, seeds) = match number("TWIN_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("TWIN_SEEDS").unwrap_or(1000)),
    };
    let mut ends = HashSet::new();
    for seed in first..first + seeds {
        ends.insert(run(walk(seed)));
    }
    // Peer, Local, Violation, Timeout and Disconnect: the walks go everywhere.
    assert!(ends.len() == 5 || seeds < 100, "{ends:?}");
}
