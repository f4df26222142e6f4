//! How long small messages take at worst, whatever the clients' own threads do meanwhile.
//!
//! A thread of its own sends at a steady pace, answered or not, and takes the kernel's word for when an
//! answer came (SO_TIMESTAMPNS): that it reads it late, since other clients have the core, is not counted. It
//! may still be late to send; it has a higher priority than the others, where that is allowed.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::cmsg_space;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::{Carrier, opening, upgraded};
use super::frame::{Ring, bad, frame};
use super::{Outcome, Progress, Sockets, Target, broadcast, connect};

/// What goes on beside the small messages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beside {
    /// So many connections on which nothing happens.
    Idle(usize),
    /// So many connections that send 64 MiB in messages of 1 MiB, over and over.
    Large(usize),
    /// Broadcasts of 100 bytes to so many, one after the other.
    Broadcast(usize),
    /// The server closes so many, at its own pace.
    Drain(usize),
}

/// Measures small messages while the rest goes on.
pub(super) async fn run(target: &Target, beside: Beside) -> io::Result<Outcome> {
    if target.tls.is_some() {
        return Err(bad("not over TLS"));
    }
    let progress = Rc::new(Progress::default());
    // Beside members of a group an echo has a path of its own.
    let path = match beside {
        Beside::Broadcast(_) | Beside::Drain(_) => "/echo",
        Beside::Idle(_) | Beside::Large(_) => "/",
    };
    let (port, raw) = (target.port, target.raw);
    let open = move || {
        let small = (0..SMALL).map(|_| connected(port, path, raw));
        small.collect::<io::Result<Vec<TcpStream>>>()
    };
    let small = tokio::task::spawn_blocking(open);
    let small = small.await.map_err(io::Error::other)??;
    let mut idle = Vec::new();
    let mut members = Vec::new();
    match beside {
        Beside::Idle(count) => {
            idle = connect::open(target, Sockets::Http1(count), &ring(100, 1)?, None).await?
        }
        Beside::Large(count) => {
            let large =
                connect::open(target, Sockets::Http1(count), &ring(1 << 20, 64)?, None).await?;
            for mut client in large {
                progress.spawn(async move {
                    loop {
                        client.exchange(64).await?;
                    }
                });
            }
        }
        Beside::Broadcast(count) => broadcast::start(target, count, 1, &[100], &progress).await?,
        Beside::Drain(count) => {
            for index in 0..count {
                members.push(upgraded(target, index, None).await?);
            }
        }
    }
    let tail = Tail::start(small, raw)?;
    tokio::time::sleep(target.warm_up).await;
    tail.stage.store(MEASURING, Ordering::Relaxed);
    for (index, member) in members.into_iter().enumerate() {
        progress.spawn(leave(member, index == 0));
    }
    tokio::time::sleep(target.duration).await;
    tail.stage.store(OVER, Ordering::Relaxed);
    let ended = tokio::task::spawn_blocking(|| tail.thread.join()).await;
    let times = ended
        .map_err(io::Error::other)?
        .map_err(|_| bad("a panic"))??;
    drop(idle);
    if let Some(error) = progress.failure.take() {
        return Err(error);
    }
    Ok(outcome(times))
}

fn ring(size: usize, burst: usize) -> io::Result<Rc<Ring>> {
    Ok(Rc::new(Ring::new(&[size], burst, None)?))
}

fn outcome(mut times: Vec<Duration>) -> Outcome {
    times.sort_unstable();
    let micros = |at: usize| times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6);
    Outcome {
        p99: micros(times.len() * 99 / 100),
        worst: micros(times.len().saturating_sub(1)),
        ..Outcome::default()
    }
}

/// Waits until the server closes, and answers; the first says that it is to.
async fn leave(mut member: Box<dyn Carrier>, is_first: bool) -> io::Result<()> {
    const KEY: [u8; 4] = [1, 2, 3, 4];
    if is_first {
        member.write_all(&frame(0x82, b"all may go", KEY)).await?;
    }
    let mut head = [0; 2];
    member.read_exact(&mut head).await?;
    if head[0] != 0x88 {
        return Err(bad("no Close frame"));
    }
    let mut reason = vec![0; usize::from(head[1])];
    member.read_exact(&mut reason).await?;
    member.write_all(&frame(0x88, &reason[..2], KEY)).await
}

/// A connection of the measuring thread, after its handshake.
fn connected(port: u16, path: &str, raw: bool) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    if !raw {
        stream.write_all(opening(port, path, "").as_bytes())?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.extend(byte);
        }
        if !head.starts_with(b"HTTP/1.1 101") {
            return Err(bad(&format!("refused: {}", String::from_utf8_lossy(&head))));
        }
    }
    stream.set_nonblocking(true)?;
    setsockopt(&stream, sockopt::ReceiveTimestampns, &true)?;
    Ok(stream)
}

/// The thread, and how far it is.
struct Tail {
    stage: Arc<AtomicU8>,
    thread: JoinHandle<io::Result<Vec<Duration>>>,
}

const WARMING_UP: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

impl Tail {
    fn start(streams: Vec<TcpStream>, raw: bool) -> io::Result<Self> {
        let payload = [b'x'; LEN];
        let message = frame(0x82, &payload, [9, 8, 7, 6]);
        let answer = if raw {
            message.clone()
        } else {
            [&[0x82, LEN as u8], payload.as_slice()].concat()
        };
        let lines = streams.into_iter().map(|stream| Line {
            stream,
            sent: VecDeque::new(),
            received: 0,
        });
        let lines: Vec<Line> = lines.collect();
        let stage = Arc::new(AtomicU8::new(WARMING_UP));
        let shared = stage.clone();
        let thread = thread::Builder::new().spawn(move || {
            // Not everybody may.
            let _raised = rustix::process::setpriority_process(None, -10);
            keep_sending(lines, &message, &answer, &shared)
        })?;
        Ok(Self { stage, thread })
    }
}

/// One connection of several.
struct Line {
    stream: TcpStream,
    /// When the messages were sent that are not answered, and whether they are measured.
    sent: VecDeque<(Duration, bool)>,
    /// Bytes of the answer that is not whole.
    received: usize,
}

/// Sends at a steady pace, on the connections in turn, until it is over and all is answered.
fn keep_sending(
    mut lines: Vec<Line>,
    message: &[u8],
    answer: &[u8],
    stage: &AtomicU8,
) -> io::Result<Vec<Duration>> {
    let (mut times, mut next, mut turn) = (Vec::new(), now()?, 0);
    loop {
        let stage = stage.load(Ordering::Relaxed);
        let waiting = lines.iter().any(|line| !line.sent.is_empty());
        if stage == OVER && !waiting {
            return Ok(times);
        }
        if now()? > next + PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if stage != OVER && now()? >= next {
            let count = lines.len();
            let line = &mut lines[turn % count];
            line.sent.push_back((now()?, stage == MEASURING));
            line.stream.write_all(message)?;
            turn += 1;
            next = now()?.max(next + PACE);
        }
        let wait = next.saturating_sub(now()?).max(Duration::from_micros(50));
        let mut polled: Vec<_> = lines
            .iter()
            .map(|line| PollFd::new(line.stream.as_fd(), PollFlags::POLLIN))
            .collect();
        ppoll(&mut polled, Some(TimeSpec::from_duration(wait)), None)?;
        let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        for (line, _) in lines.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            line.receive(answer, &mut times)?;
        }
    }
}

impl Line {
    /// Takes the answers that are there.
    fn receive(&mut self, answer: &[u8], times: &mut Vec<Duration>) -> io::Result<()> {
        let (mut bytes, mut space) = ([0; 256], cmsg_space!(TimeSpec));
        loop {
            // No more than the rest of one answer, so that each has a time of its own.
            let rest = &answer[self.received..];
            let mut slices = [IoSliceMut::new(&mut bytes[..rest.len()])];
            let fd = self.stream.as_raw_fd();
            let received = recvmsg::<()>(fd, &mut slices, Some(&mut space), MsgFlags::empty());
            let received = match received {
                Ok(received) if received.bytes > 0 => received,
                Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(nix::errno::Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let len = received.bytes;
            let stamp = received.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                _ => None,
            });
            if bytes[..len] != rest[..len] {
                return Err(bad("another answer than was sent"));
            }
            self.received += len;
            if self.received == answer.len() {
                self.received = 0;
                let sent = self
                    .sent
                    .pop_front()
                    .ok_or_else(|| bad("an answer to nothing"))?;
                let came = stamp.ok_or_else(|| bad("an answer without its time"))?;
                if sent.1 {
                    times.push(came.saturating_sub(sent.0));
                }
            }
        }
    }
}

/// The clock of the timestamps.
fn now() -> io::Result<Duration> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_REALTIME)?))
}

/// How many connections have small messages, and of what size.
const SMALL: usize = 10;
const LEN: usize = 125;

/// A message is sent so often.
const PACE: Duration = Duration::from_micros(500);

/// How long nothing may be sent.
const PATIENCE: Duration = Duration::from_secs(10);
