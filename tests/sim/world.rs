//! One run: a server, its clients, and what they do to each other, all of it from one seed.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    time::{Instant, sleep, timeout},
};
use tower::{service_fn, util::BoxCloneSyncService};
use tower_websocket::{
    CloseCode, ConnectionId, Connections, Groups, PreparedMessage, WebSocketLayer,
    client::Client,
    groups::Delivery,
    service::{ResponseBody, event_handler},
    session::{Drain, Http2Stream, SessionReport},
};

use crate::{
    client,
    conn::Conn,
    line::Line,
    message::{Ledger, Sender},
    plan::Plan,
    rng::{Rng, lock},
    server::{self, Callbacks},
};

/// Everything of one run.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) groups: Groups<u8>,
    pub(crate) connections: Connections,
    rng: Mutex<Rng>,
    conns: Mutex<Vec<Arc<Conn>>>,
    reports: Mutex<Vec<SessionReport>>,
    /// What was broadcast to each group.
    pub(crate) many: Arc<Ledger>,
    failures: Mutex<Vec<String>>,
    trace: Option<Mutex<Vec<(Duration, String)>>>,
    begin: Instant,
}

impl World {
    /// Says what is wrong; the first is told.
    pub(crate) fn fail(&self, what: &str) {
        self.trace(|| format!("FAILED: {what}"));
        lock(&self.failures).push(what.to_owned());
    }

    pub(crate) fn trace(&self, what: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            lock(trace).push((self.begin.elapsed(), what()));
        }
    }

    /// The connection that a request is for.
    pub(crate) fn conn_of(&self, head: &Parts) -> Arc<Conn> {
        let number = head.uri.path().trim_start_matches('/').parse::<usize>();
        let number = number.expect("a path that a client of ours made");
        lock(&self.conns)[number].clone()
    }

    fn new_conn(self: &Arc<Self>, line: &Line) -> Arc<Conn> {
        let rng = lock(&self.rng).fork();
        let mut conns = lock(&self.conns);
        let number = conns.len();
        let conn = Arc::new(Conn {
            number,
            world: self.clone(),
            up: Ledger::new(self, format!("{number} up")),
            down: Ledger::new(self, format!("{number} down")),
            rng: Mutex::new(rng),
            line: line.view(),
            facts: Mutex::default(),
        });
        conns.push(conn.clone());
        conn
    }
}

/// What a run has come to.
pub(crate) struct Outcome {
    pub(crate) failures: Vec<String>,
    pub(crate) trace: String,
    pub(crate) sessions: usize,
    pub(crate) messages: u64,
}

impl Outcome {
    pub(crate) fn of_a_panic() -> Self {
        Self {
            failures: vec!["a panic".to_owned()],
            trace: String::new(),
            sessions: 0,
            messages: 0,
        }
    }
}

type App = BoxCloneSyncService<Request<Incoming>, Response<ResponseBody<String>>, Infallible>;

/// Runs one seed.
pub(crate) fn run(seed: u64, most_clients: usize, traced: bool) -> Outcome {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime");
    let mut rng = Rng::new(seed);
    let plan = Plan::draw(&mut rng, most_clients);
    let still = plan.elsewhere.then(|| {
        let still = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        still.expect("a runtime")
    });
    let outcome = runtime.block_on(play(plan, rng, traced, still.as_ref()));
    drop(runtime);
    outcome
}

async fn play(plan: Plan, mut rng: Rng, traced: bool, still: Option<&Runtime>) -> Outcome {
    let groups = groups(&mut rng);
    let world = Arc::new(World {
        plan,
        groups,
        connections: Connections::sequential(),
        rng: Mutex::new(rng.fork()),
        conns: Mutex::default(),
        reports: Mutex::default(),
        many: Ledger::of_many(),
        failures: Mutex::default(),
        trace: traced.then(Mutex::default),
        begin: Instant::now(),
    });
    world.trace(|| format!("{:?}", world.plan));
    let app = app(&world);
    let mut left = world.plan.clients;
    while left > 0 {
        left -= open_line(&world, &mut rng, &app, left);
    }
    act(&world, &mut rng, still);
    act_late(&world, &mut rng, still);
    let patient = Duration::from_secs(60);
    if world.plan.drained == patient {
        nobody_stands_still(&world).await;
        sleep(patient.saturating_sub(world.begin.elapsed())).await;
    } else {
        sleep(world.plan.drained).await;
    }
    let drain = Drain::default()
        .timeout(Duration::from_secs(40))
        .close_frame(CloseCode::GOING_AWAY);
    let drained = world.connections.drain(drain).await;
    world.trace(|| format!("{drained:?}"));
    drop(app);
    // Longer than anything here may take.
    sleep(Duration::from_secs(100_000)).await;
    finish(&world)
}

/// Checks that nothing waits for ever where it could go on: long after everybody has done what there
/// is to do, what is outstanding has to change or to be nothing.
async fn nobody_stands_still(world: &World) {
    let conns = lock(&world.conns).clone();
    let outstanding = || {
        conns
            .iter()
            .map(|conn| conn.outstanding())
            .collect::<Vec<_>>()
    };
    sleep(Duration::from_secs(44)).await;
    let mut still = outstanding();
    // Not in the time of pings: one may be queued whenever one looks.
    for later in [530, 2_710, 7_190] {
        sleep(Duration::from_millis(later)).await;
        for (before, after) in still.iter_mut().zip(outstanding()) {
            before.take_if(|before| after != Some(*before));
        }
    }
    for (conn, still) in conns.iter().zip(still) {
        if let Some(still) = still.filter(|it| it.queued > 0 || it.busy > 0 || it.unread > 1) {
            world.fail(&format!(
                "{} stands still: {still:?}, {:?}",
                conn.number, conn.line
            ));
        }
    }
}

fn groups(rng: &mut Rng) -> Groups<u8> {
    use tower_websocket::groups::SlowMember;
    let policies = [
        SlowMember::default(),
        SlowMember::DropNewest,
        SlowMember::Conflate,
    ];
    let which = [rng.below(3), rng.below(3), rng.below(3)];
    Groups::builder()
        .slow_members(move |key: &u8| policies[which[usize::from(*key) % 3]].clone())
        .build()
}

/// The application.
fn app(world: &Arc<World>) -> App {
    let reported = {
        let world = world.clone();
        move |report: &SessionReport| lock(&world.reports).push(report.clone())
    };
    if world.plan.callbacks {
        let layer = WebSocketLayer::new(event_handler(Callbacks::new(world)))
            .config(world.plan.config.clone())
            .connections(&world.connections)
            .on_end(reported);
        return BoxCloneSyncService::new(layer.endpoint());
    }
    let handling = world.clone();
    let route = service_fn(move |request| server::handle(handling.clone(), request));
    let layer = WebSocketLayer::new(route)
        .config(world.plan.config.clone())
        .connections(&world.connections)
        .on_end(reported);
    BoxCloneSyncService::new(layer.endpoint())
}

/// Starts what a client or hyper does, which is given up one day.
fn spawn_patient(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(timeout(Duration::from_secs(50_000), task));
}

/// Opens a line with some of the clients; gives how many those are.
fn open_line(world: &Arc<World>, rng: &mut Rng, app: &App, left: usize) -> usize {
    let (ours, theirs) = Line::pair(world, rng, world.plan.faulty, world.plan.deaf);
    let http2 = rng.percent(45) && !world.plan.deaf;
    serve(theirs, app.clone(), http2);
    let after = rng.millis(100);
    let by_hand = !world.plan.compression && (rng.percent(60) || world.plan.deaf);
    if !http2 {
        let conn = world.new_conn(&ours);
        spawn_patient(async move {
            sleep(after).await;
            if by_hand {
                if let Some((stream, read)) = client::upgrade(&conn, ours).await {
                    client::speak(conn, stream, read).await;
                }
                return;
            }
            let client = Client::new().config(conn.world.plan.client.clone());
            let request = format!("ws://sim{}", conn.path());
            if let Ok(response) = client.request_over(ours, request).await {
                client::use_client(conn, response.into_body()).await;
            }
        });
        return 1;
    }
    let count = rng.within(1..=4).min(left);
    let conns: Vec<_> = (0..count).map(|_| world.new_conn(&ours)).collect();
    let mut rng = rng.fork();
    let world = world.clone();
    spawn_patient(async move {
        sleep(after).await;
        if by_hand {
            streams_by_hand(conns, ours, &mut rng).await;
            return;
        }
        let client = Client::new().config(world.plan.client.clone());
        let Ok(connection) = client.connect_http2_over(ours, "ws://sim/").await else {
            return;
        };
        for conn in conns {
            let connection = connection.clone();
            spawn_patient(async move {
                if let Ok(socket) = connection.connect(conn.path()).await {
                    client::use_client(conn, socket).await;
                }
            });
        }
    });
    count
}

/// Opens streams of HTTP/2 with `h2` alone.
async fn streams_by_hand(conns: Vec<Arc<Conn>>, line: Line, rng: &mut Rng) {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(rng.pick(&[20_000, 65_535, 1 << 20]));
    let Ok((mut requests, connection)) = builder.handshake::<_, Bytes>(line).await else {
        return;
    };
    let on = conns[0].world.clone();
    spawn_patient(async move {
        let end = connection.await;
        on.trace(|| format!("HTTP/2 client: {end:?}"));
    });
    for conn in conns {
        // The server has announced it once it has answered anything.
        sleep(Duration::from_secs(1)).await;
        let Ok(ready) = requests.clone().ready().await else {
            return;
        };
        requests = ready;
        let Ok((response, send)) = requests.send_request(client::extended_connect(&conn), false)
        else {
            return;
        };
        spawn_patient(async move {
            let Ok(response) = response.await else { return };
            if response.status() == 200 {
                let stream = Http2Stream::new(send, response.into_body());
                client::speak(conn, stream, Vec::new()).await;
            }
        });
    }
}

/// Serves a line with hyper.
fn serve(line: Line, app: App, http2: bool) {
    let service = TowerToHyperService::new(app);
    let io = TokioIo::new(line);
    // hyper waits for ever for a client that begins HTTP/2 and says nothing.
    spawn_patient(async move {
        if http2 {
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).enable_connect_protocol();
            builder.keep_alive_interval(Duration::from_secs(20));
            let _failed = builder.serve_connection(io, service).await;
        } else {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new());
            builder.header_read_timeout(Duration::from_secs(10));
            let _failed = builder.serve_connection(io, service).with_upgrades().await;
        }
    });
}

/// Has others act on the connections from outside.
fn act(world: &Arc<World>, rng: &mut Rng, still: Option<&Runtime>) {
    for _ in 0..rng.below(4) {
        let (to, mut rng) = (world.clone(), rng.fork());
        let still = still.map(|still| still.handle().clone());
        tokio::spawn(async move {
            for _ in 0..rng.below(12) {
                sleep(rng.millis(60)).await;
                let still = still.as_ref().filter(|_| rng.percent(60));
                act_once(&to, &mut rng, still).await;
            }
        });
    }
}

/// Acts once more when all is quiet: nothing else wakes those whom that does not wake.
fn act_late(world: &Arc<World>, rng: &mut Rng, still: Option<&Runtime>) {
    let (to, mut rng) = (world.clone(), rng.fork());
    let still = still.map(|still| still.handle().clone());
    tokio::spawn(async move {
        sleep(Duration::from_secs(30)).await;
        for _ in 0..rng.below(5) {
            let still = still.as_ref().filter(|_| rng.percent(80));
            act_once(&to, &mut rng, still).await;
        }
    });
}

async fn act_once(world: &Arc<World>, rng: &mut Rng, still: Option<&Handle>) {
    let mut all: Vec<_> = world.connections.iter().collect();
    all.sort_by_key(|socket| socket.id().map(ConnectionId::as_u64));
    let what = rng.below(12);
    world.trace(|| {
        format!("from outside: {what}, {} open, {still:?}", all.len())
            .chars()
            .take(60)
            .collect()
    });
    match what {
        0..7 => {
            let key = rng.below(3) as u8;
            let message = world.many.next(Sender::of_group(key), rng.len());
            world.many.accepted(Sender::of_group(key));
            let broadcast = world.groups.broadcast(&key, PreparedMessage::new(message));
            in_runtime(broadcast, still, rng).await;
        }
        7 if !all.is_empty() => {
            // Some are asked for by their number; nobody is, without one.
            let socket = &all[rng.below(all.len())];
            if socket
                .id()
                .and_then(|id| world.connections.get(id))
                .is_none()
                && socket.is_open()
            {
                world.fail("an open connection is not found");
            }
        }
        8 if !all.is_empty() => {
            let socket = all[rng.below(all.len())].clone();
            let closing = async move {
                socket.close(CloseCode::new(4001).expect("a code"));
                Delivery::default()
            };
            in_runtime(closing, still, rng).await;
        }
        9 if !all.is_empty() && rng.percent(50) => {
            let socket = all[rng.below(all.len())].clone();
            let aborting = async move {
                socket.abort();
                Delivery::default()
            };
            in_runtime(aborting, still, rng).await;
        }
        _ => {}
    }
}

/// Does something here, or in a runtime that runs no task and no timer.
async fn in_runtime(
    future: impl Future<Output = Delivery> + Send,
    still: Option<&Handle>,
    rng: &mut Rng,
) {
    let Some(still) = still else {
        let _delivery = future.await;
        return;
    };
    let mut future = Box::pin(future);
    for _ in 0..rng.within(1..=3) {
        let _entered = still.enter();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        if future.as_mut().poll(&mut cx).is_ready() {
            return;
        }
    }
}

/// Checks that nothing is left, once everybody has gone.
fn finish(world: &Arc<World>) -> Outcome {
    let alive = Handle::current().metrics().num_alive_tasks();
    if alive > 0 {
        world.fail(&format!("{alive} tasks are left"));
    }
    let counters = world.connections.counters();
    if counters.open > 0 || !world.connections.is_empty() {
        world.fail(&format!("{} connections are open", counters.open));
    }
    if !world.groups.is_empty() {
        let mut keys = world.groups.keys();
        keys.sort_unstable();
        world.fail(&format!("groups are left: {keys:?}"));
    }
    let used = world.plan.budget.used();
    if used > 0 {
        world.fail(&format!("{used} bytes of the budget are used"));
    }
    let reports = std::mem::take(&mut *lock(&world.reports));
    let sessions = counters.accepted - counters.failed_upgrades;
    if reports.len() as u64 != sessions {
        world.fail(&format!("{} reports of {sessions} sessions", reports.len()));
    }
    let closed: u64 = counters.closed.values().sum();
    if closed != sessions {
        world.fail(&format!("{closed} endings are counted of {sessions}"));
    }
    let conns = std::mem::take(&mut *lock(&world.conns));
    let mut by_id = HashMap::new();
    for conn in &conns {
        if let Some(id) = lock(&conn.facts).id {
            by_id.insert(id, conn.clone());
        }
    }
    let mut messages = 0;
    for report in &reports {
        messages += report.messages_received + report.messages_sent;
        let id = report.id.expect("each is registered");
        match by_id.remove(&id) {
            Some(conn) => conn.check(report),
            None => world.fail("two reports, or a session without a handler"),
        }
    }
    if !by_id.is_empty() {
        world.fail("a session without a report");
    }
    let mut trace = String::new();
    if let Some(lines) = &world.trace {
        for (at, line) in lock(lines).iter() {
            let _ = writeln!(trace, "{at:>10.3?} {line}");
        }
    }
    Outcome {
        failures: std::mem::take(&mut *lock(&world.failures)),
        trace,
        sessions: reports.len(),
        messages,
    }
}
