//! One client: a member of one group on one node, which may send to it.

use std::{
    future::pending,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{Interval, MissedTickBehavior, interval_at, sleep, timeout},
};
use tower::BoxError;

use super::{
    Member, Shared,
    frame::{self, Kind},
    message::Message,
};

/// Runs a client until the load ends. One that is cut off comes again.
pub(super) async fn run(shared: Arc<Shared>, at: usize, mut end: watch::Receiver<bool>) {
    let member = &shared.members[at];
    let life = async {
        loop {
            let why = match session(&shared, at).await {
                Ok(()) => "closed by the server".to_owned(),
                Err(error) => error.to_string(),
            };
            shared.went(member, &why);
            sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = life => {}
        _ = end.wait_for(|end| *end) => {}
    }
}

async fn session(shared: &Shared, at: usize) -> Result<(), BoxError> {
    let member = &shared.members[at];
    let (mut stream, mut read) = {
        let _turn = shared.connecting.acquire().await?;
        let port = shared.ports[member.node].load(Relaxed);
        timeout(PATIENCE, open(port, &member.group.to_string())).await??
    };
    let mut sending = shared.sending.subscribe();
    let mut ticks = None;
    loop {
        while let Some((kind, payload)) = frame::take(&mut read)? {
            match kind {
                Kind::Text => member.joined.store(true, Relaxed),
                Kind::Binary => {
                    let message = Message::decode(&payload).ok_or("a strange message")?;
                    receive(shared, member, message);
                }
                Kind::Ping => stream.write_all(&frame::make(Kind::Pong, &payload)).await?,
                Kind::Pong => {}
                Kind::Close => return Err(format!("closed with {payload:?}").into()),
            }
        }
        let may_send = member.sends && member.joined.load(Relaxed);
        if ticks.is_none() && may_send && *sending.borrow_and_update() {
            ticks = Some(every(shared.load.interval, at));
        }
        tokio::select! {
            count = stream.read_buf(&mut read) => if count? == 0 {
                return Ok(());
            },
            () = tick(&mut ticks) => send(shared, at, &mut stream).await?,
            // It is looked at above: what lies between two changes is of no interest.
            _ = sending.changed(), if member.sends => if !*sending.borrow() {
                ticks = None;
            },
        }
    }
}

/// Waits for the next time to send; forever, if there is none.
async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => pending().await,
    }
}

/// The times at which one sends, which are not those of the others.
fn every(interval: Duration, at: usize) -> Interval {
    let part = u32::try_from(at * 7919 % 1000).unwrap_or(0);
    let first = tokio::time::Instant::now() + interval * part / 1000;
    let mut ticks = interval_at(first, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Connects, and sends the handshake; returns what came behind the answer.
async fn open(port: u16, path: &str) -> Result<(TcpStream, BytesMut), BoxError> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut read = BytesMut::new();
    let end = loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err("no answer to the handshake".into());
        }
        if let Some(at) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let answer = read.split_to(end);
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        return Err(format!("refused: {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok((stream, read))
}

/// Connects a client that says nothing, and waits until it is a member of what its path says.
pub(crate) async fn hold(port: u16, path: &str) -> Result<TcpStream, BoxError> {
    let (mut stream, mut read) = timeout(PATIENCE, open(port, path)).await??;
    while !matches!(frame::take(&mut read)?, Some((Kind::Text, _))) {
        if timeout(PATIENCE, stream.read_buf(&mut read)).await?? == 0 {
            return Err("closed by the server".into());
        }
    }
    Ok(stream)
}

async fn send(shared: &Shared, at: usize, stream: &mut TcpStream) -> Result<(), BoxError> {
    let member = &shared.members[at];
    let (sender, number) = member.next_number(at);
    let message = Message {
        sender,
        number,
        sent: shared.start.elapsed(),
        node: u8::try_from(member.node)?,
        group: member.group,
        phase: shared.phase(),
    };
    let frame = frame::make(Kind::Binary, &message.encode(shared.load.size));
    stream.write_all(&frame).await?;
    Ok(())
}

fn receive(shared: &Shared, member: &Member, message: Message) {
    let now = shared.start.elapsed();
    if message.group != member.group {
        shared.wrong(format!(
            "{message:?} came to a member of group {}",
            member.group
        ));
        return;
    }
    let mut seen = member.seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.receive(&message, now, shared.healed());
    let local = usize::from(usize::from(message.node) != member.node);
    let delays = &shared.delays[message.phase as usize][local];
    delays.note(now.saturating_sub(message.sent));
}

const AGAIN: Duration = Duration::from_millis(250);

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(30);
