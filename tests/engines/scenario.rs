//! A scenario: calm, a fault, and until all is whole again.

use std::{pin::Pin, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep};
use tower::BoxError;

use super::{
    engine::until,
    load::{Load, Phase, Shape, Sums},
    row::Row,
    stage::{Kind, Stage},
};

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) engine: Kind,
    /// The program that it needs.
    pub(crate) needs: Option<&'static str>,
    /// Whether it belongs to the short set.
    pub(crate) short: bool,
    pub(crate) shape: Shape,
    pub(crate) times: Times,
    /// Whether messages may be lost, if that is told.
    pub(crate) may_lose: bool,
    /// What 99 in 100 messages between members of one node may take while the fault lasts.
    pub(crate) local: Duration,
    /// What a server may take of memory, in bytes, beyond what it takes without clients.
    pub(crate) memory: u64,
    pub(crate) fault: Fault,
}

/// Breaks something, and mends it.
pub(crate) type Fault =
    for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + 'a>>;

#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Before the fault, and after it.
    pub(crate) calm: Duration,
    /// Until all is whole again.
    pub(crate) whole_within: Duration,
    /// Until nothing is left of clients that are gone.
    pub(crate) left_within: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            calm: Duration::from_millis(1500),
            whole_within: Duration::from_secs(90),
            left_within: Duration::from_secs(30),
        }
    }
}

impl Scenario {
    /// Plays it.
    pub(crate) async fn perform(&self) -> Result<Row, BoxError> {
        let start = Instant::now();
        let mut stage = Stage::set(self.engine, self.shape).await?;
        stage.load.send(true);
        sleep(self.times.calm).await;
        stage.load.phase(Phase::Fault);
        let fault = (self.fault)(&mut stage).await;
        stage.load.phase(Phase::After);
        let mut wrong = Vec::new();
        let whole = until("whole again", self.times.whole_within, async || {
            stage.load.whole().map(|_| true)
        })
        .await;
        wrong.extend(fault.err().map(|error| error.to_string()));
        wrong.extend(whole.err().map(|error| error.to_string()));
        if self.needs.is_some() {
            // A server that was killed is missing until it is known to be gone.
            let counted = until("members are counted", COUNTED_WITHIN, async || {
                stage.is_counted().await
            });
            wrong.extend(counted.await.err().map(|error| error.to_string()));
        }
        // It may have been whole by luck: what is lost from here on is lost in peace.
        let before = settled(&stage.load).await;
        stage.load.send(true);
        sleep(self.times.calm).await;
        let after = settled(&stage.load).await;
        let said = [
            stage.nodes[0].ask("sample").await?,
            stage.nodes[1].ask("sample").await?,
        ];
        let mut row = Row::new(self, &stage, &before, after, &said);
        row.wrong.extend(wrong);
        row.wrong
            .extend(strike(stage, self.times.left_within).await);
        if !row.wrong.is_empty() && self.needs.is_some() {
            let name = self.name;
            eprintln!(
                "{name}: at the end the servers said {}, {}",
                said[0], said[1]
            );
        }
        row.took = start.elapsed();
        Ok(row)
    }
}

/// Stops sending, and waits until all has come, or nothing comes any more.
async fn settled(load: &Load) -> Sums {
    load.send(false);
    let (mut sums, mut quiet_since) = (load.sums(), Instant::now());
    let deadline = Instant::now() + SETTLED_WITHIN;
    while Instant::now() < deadline {
        sleep(Duration::from_millis(50)).await;
        let now = load.sums();
        if now.received != sums.received {
            quiet_since = Instant::now();
        }
        sums = now;
        // Doubles may come behind the last one.
        let quiet = if sums.tail() == 0 { QUIET } else { SILENT };
        if quiet_since.elapsed() > quiet {
            break;
        }
    }
    sums
}

/// Ends clients and servers; what is wrong is what stays.
async fn strike(stage: Stage, left_within: Duration) -> Vec<String> {
    let Stage {
        load,
        nodes,
        at_rest,
        engine,
        proxies,
        directory,
        ..
    } = stage;
    let mut wrong = load.stop().await;
    for (number, (mut node, at_rest)) in nodes.into_iter().zip(&at_rest).enumerate() {
        let gone = until("nothing is left of the clients", left_within, async || {
            let now = node
                .ask("sample")
                .await
                .map_err(|error| error.to_string())?;
            left(at_rest, &now)
        });
        if let Err(error) = gone.await {
            wrong.push(format!("node {number}: {error}"));
        }
        if let Err(error) = node.end().await {
            wrong.push(format!("node {number}: {error}"));
        }
    }
    drop((proxies, engine, directory));
    wrong
}

/// What a server has more than when it had no client.
fn left(at_rest: &Value, now: &Value) -> Result<bool, String> {
    let mut more = Vec::new();
    for name in ["connections", "fds", "tasks", "groups"] {
        let (then, now) = (at_rest[name].as_u64(), now[name].as_u64());
        if now > then {
            more.push(format!("{name} {now:?}, not {then:?}"));
        }
    }
    match more.is_empty() {
        true => Ok(true),
        false => Err(more.join(", ")),
    }
}

/// Longer than a server that was killed is missed.
const COUNTED_WITHIN: Duration = Duration::from_secs(60);

/// How long nothing comes until nothing comes any more.
const QUIET: Duration = Duration::from_millis(400);

/// How long nothing comes until what has not come is lost.
const SILENT: Duration = Duration::from_secs(5);

const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// What local members may wait on a busy machine; one that waited for the engine waits for seconds.
pub(crate) const LOCAL: Duration = Duration::from_secs(1);

/// What a thousand clients take, and all that may be queued for the engine and from it.
pub(crate) const MEMORY: u64 = 64 << 20;
