//! What is drawn before anything begins.

use std::time::Duration;

use tower_websocket::{Compression, Config, MemoryBudget};

use crate::rng::Rng;

/// What is drawn before anything begins.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) steps: usize,
    pub(crate) faulty: bool,
    /// All is as by default, but that clients take nothing one day, and go on sending.
    pub(crate) deaf: bool,
    pub(crate) compression: bool,
    pub(crate) callbacks: bool,
    pub(crate) max_send_queue: usize,
    pub(crate) config: Config,
    pub(crate) client: Config,
    pub(crate) budget: MemoryBudget,
    /// When the server is drained.
    pub(crate) drained: Duration,
    /// Something is done from a runtime that stands still.
    pub(crate) elsewhere: bool,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng, most: usize) -> Self {
        let clients = match rng.below(1000) {
            0 => 100,
            1..20 => rng.within(8..=20),
            _ => rng.within(1..=6),
        }
        .min(most);
        let compression = rng.percent(25);
        let streaming = rng.percent(20);
        let max_send_queue = rng.pick(&[0, 100, 5_000, 1 << 20, 1 << 20]);
        let budget = if rng.percent(10) {
            MemoryBudget::new(rng.within(20_000..=300_000))
        } else {
            MemoryBudget::new(256 << 20)
        };
        let mut config = Config::default()
            .ping_interval(None)
            .max_send_queue(max_send_queue)
            .max_read_ahead(rng.pick(&[0, 100, 5_000, 64 << 10]))
            .streaming(streaming)
            .memory_budget(&budget);
        if rng.percent(30) {
            config = config.fragment_size(rng.pick(&[200, 1000, 5000]));
        }
        if rng.percent(10) {
            config = config.max_send_messages(rng.within(1..=4));
        }
        if rng.percent(40) {
            config = config.ping_interval(Duration::from_millis(rng.pick(&[100, 1_000, 20_000])));
        }
        if rng.percent(10) {
            config = config.idle_timeout(Duration::from_secs(2));
        }
        if compression {
            let dedicated = rng.percent(40);
            let compression = if dedicated {
                Compression::dedicated()
            } else {
                Compression::shared()
            };
            config = config.compression(compression.threshold(rng.pick(&[0, 100, 512])));
        }
        let deaf = rng.percent(3);
        if deaf {
            config = Config::default().ping_interval(None).memory_budget(&budget);
        }
        Self {
            clients,
            deaf,
            steps: rng.pick(&[1, 4, 12, 30]),
            faulty: rng.percent(50),
            compression: compression && !deaf,
            callbacks: rng.percent(12) && !deaf,
            max_send_queue: if deaf { 1 << 20 } else { max_send_queue },
            // A client finds a server that is gone by its pings alone.
            client: config
                .clone()
                .ping_interval(Duration::from_secs(20))
                .idle_timeout(None),
            config,
            budget,
            drained: match rng.below(4) {
                0 => rng.millis(200),
                1 => rng.millis(2_000),
                _ => Duration::from_secs(60),
            },
            elsewhere: rng.percent(50),
        }
    }

    /// More than this is never queued: the limit, and one message with its fragments' headers for each
    /// of those who send.
    pub(crate) fn most_queued(&self) -> usize {
        self.max_send_queue + 4 * 700_000
    }
}
