//! How long it takes from publishing to the socket of a client of another node, beside the crate alone.

use std::{
    io::{self, IoSliceMut, Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    cmsg_space,
    sys::{
        socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
        time::TimeSpec,
    },
    time::{ClockId, clock_gettime},
};
use tokio::{
    runtime::Builder,
    sync::oneshot,
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    Outcome,
    bare::{Publisher, Subscriber},
    clients::{opening, text},
    engine::Engine,
    node::Node,
    options::Options,
    report::{Goal, Report, quantile},
    source::PAYLOAD,
};

pub(crate) fn run(engine: &mut Engine, options: &Options, report: &mut Report) -> Outcome {
    let here = Node::start(engine)?;
    let there = Running::start(engine)?;
    let watch = Watch::start(there.port, "r")?;
    let topic = engine.kind.spell("bare");
    let bare = Arc::new(Mutex::new(Vec::new()));
    let subscriber = Bystander::start(engine, &topic, bare.clone())?;
    let count = options.many(1500);
    let (mut theirs, mut ours) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..=options.rounds {
        let times: Outcome<_> = here.runtime.block_on(async {
            let publisher = Publisher::connect(engine).await?;
            sleep(Duration::from_millis(20)).await;
            take(&bare);
            let mut ticks = interval(Duration::from_millis(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..count {
                ticks.tick().await;
                let (mut publisher, topic) = (publisher.clone(), topic.clone());
                let payload = stamped(Duration::ZERO);
                // Not one after the other: whoever is late would not be asked.
                tokio::spawn(async move { publisher.publish(&topic, &payload, 1).await });
            }
            sleep(Duration::from_millis(100)).await;
            let them = take(&bare);
            watch.take();
            let mut ticks = interval(Duration::from_millis(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..count {
                ticks.tick().await;
                here.groups.broadcast("r", stamped(Duration::ZERO)).await;
            }
            sleep(Duration::from_millis(100)).await;
            Ok((them, watch.take()))
        });
        let (them, us) = times?;
        if us.len() != count || them.len() != count {
            return Err(format!("of {count} came {} and {}", them.len(), us.len()).into());
        }
        if round > 0 {
            for (at, part) in [0.5, 0.99].into_iter().enumerate() {
                theirs[at].push(quantile(&them, part));
                ours[at].push(quantile(&us, part));
            }
        }
    }
    drop((watch, there, subscriber));
    let name = engine.kind.name();
    let what = "from publishing to the other node's socket, 1,000/s, beside the crate's callback";
    report.row(
        &format!("p50 {what}"),
        name,
        "µs",
        [&theirs[0], &ours[0]],
        Goal::Plus(100.0),
    );
    report.row(
        &format!("p99 {what}"),
        name,
        "µs",
        [&theirs[1], &ours[1]],
        Goal::Times(1.5),
    );
    Ok(())
}

/// A node that runs in a thread of its own.
pub(crate) struct Running {
    pub(crate) port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(engine: &Engine) -> Outcome<Self> {
        let node = Node::start(engine)?;
        let port = node.port;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            // Dropped, and nothing else.
            let _dropped = node.runtime.block_on(stopped);
        });
        Ok(Self {
            port,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has said why.
            let _panicked = thread.join();
        }
    }
}

/// The crate's callback, in a thread of its own.
struct Bystander(Option<oneshot::Sender<()>>);

impl Bystander {
    fn start(engine: &Engine, topic: &str, times: Arc<Mutex<Vec<f64>>>) -> Outcome<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let came = move |payload: &[u8]| {
            let time = now().saturating_sub(sent(payload));
            let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
            times.push(time.as_secs_f64() * 1e6);
        };
        let subscriber =
            runtime.block_on(Subscriber::connect(engine, &[topic.to_owned()], came))?;
        let (stop, stopped) = oneshot::channel();
        thread::spawn(move || {
            let _dropped = runtime.block_on(stopped);
            drop(subscriber);
        });
        Ok(Self(Some(stop)))
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// A client that takes the kernel's word for when messages came.
pub(crate) struct Watch {
    times: Arc<Mutex<Vec<f64>>>,
    over: Arc<AtomicBool>,
}

impl Watch {
    /// Connects, and joins a room.
    pub(crate) fn start(port: u16, room: &str) -> Outcome<Self> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(opening(port, "/").as_bytes())?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.extend(byte);
        }
        stream.write_all(&text(room))?;
        setsockopt(&stream, sockopt::ReceiveTimestampns, &true)?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        let watch = Self {
            times: Arc::default(),
            over: Arc::default(),
        };
        let (times, over) = (watch.times.clone(), watch.over.clone());
        thread::spawn(move || {
            // Not everybody may.
            let _raised = rustix::process::setpriority_process(None, -5);
            while !over.load(Ordering::Relaxed) {
                match next(&stream) {
                    Ok(Some(time)) => times
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(time),
                    Ok(None) => {}
                    // The node is gone.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
                    Err(error) => return eprintln!("watch: {error}"),
                }
            }
        });
        // To be in the room.
        thread::sleep(Duration::from_millis(300));
        Ok(watch)
    }

    /// Takes the times of what came, in microseconds.
    pub(crate) fn take(&self) -> Vec<f64> {
        take(&self.times)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn take(times: &Mutex<Vec<f64>>) -> Vec<f64> {
    std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Reads a message; `None` if there is none for a while, or another frame.
fn next(stream: &TcpStream) -> io::Result<Option<f64>> {
    let (mut frame, mut at, mut stamp) = ([0; 2 + PAYLOAD], 0, None);
    while at < frame.len() {
        let mut space = cmsg_space!(TimeSpec);
        let mut slices = [IoSliceMut::new(&mut frame[at..])];
        let received = recvmsg::<()>(
            stream.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            MsgFlags::empty(),
        );
        let received = match received {
            Ok(received) if received.bytes > 0 => received,
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(nix::errno::Errno::EAGAIN) if at == 0 => return Ok(None),
            Err(nix::errno::Errno::EAGAIN) => continue,
            Err(error) => return Err(error.into()),
        };
        let times = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
            _ => None,
        });
        stamp = times.or(stamp);
        at += received.bytes;
    }
    if frame[..2] != [0x82, PAYLOAD as u8] {
        return Err(io::Error::other("another frame than was sent"));
    }
    let came = stamp.ok_or_else(|| io::Error::other("a message without its time"))?;
    let time = came.saturating_sub(sent(&frame[2..]));
    Ok(Some(time.as_secs_f64() * 1e6))
}

/// Makes a payload that says when it was sent, or should have been: so long ago.
pub(crate) fn stamped(ago: Duration) -> Vec<u8> {
    let mut payload = (now().saturating_sub(ago).as_nanos() as u64)
        .to_le_bytes()
        .to_vec();
    payload.resize(PAYLOAD, b'x');
    payload
}

fn sent(payload: &[u8]) -> Duration {
    let nanos = payload.first_chunk().copied().unwrap_or_default();
    Duration::from_nanos(u64::from_le_bytes(nanos))
}

/// The clock of the timestamps.
fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(Duration::ZERO, Duration::from)
}
