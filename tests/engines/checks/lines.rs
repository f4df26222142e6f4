//! The proxy does what it is told: seen from both ends of a line through it.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tower::BoxError;

use crate::proxy::{Mode, Proxy};

pub(super) async fn check() -> Vec<String> {
    match check_all().await {
        Ok(wrong) => wrong.into_iter().map(|it| format!("proxy: {it}")).collect(),
        Err(error) => vec![format!("proxy: {error}")],
    }
}

/// A line, and the modes it has to go through.
struct Line {
    proxy: Proxy,
    engine: TcpListener,
    ends: (TcpStream, TcpStream),
}

async fn check_all() -> Result<Vec<String>, BoxError> {
    let mut wrong = silence().await?;
    wrong.extend(trouble().await?);
    Ok(wrong)
}

/// Nothing comes through, in both directions or in one.
async fn silence() -> Result<Vec<String>, BoxError> {
    let mut wrong = Vec::new();
    let mut line = Line::new().await?;
    let mut see = |what: &str, seen: bool| {
        if !seen {
            wrong.push(what.to_owned());
        }
    };
    see("passes", line.comes_through(SOON).await == (true, true));
    line.proxy.set(Mode::BlackHole);
    see(
        "black hole",
        line.comes_through(MOMENT).await == (false, false),
    );
    let new = TcpStream::connect(("127.0.0.1", line.proxy.port)).await?;
    see(
        "hears of nobody new in a black hole",
        timeout(MOMENT, line.engine.accept()).await.is_err(),
    );
    line.proxy.set(Mode::Pass);
    // What was underway comes, and what was sent since behind it.
    see(
        "keeps what was underway",
        line.comes_through(SOON).await == (true, true),
    );
    see(
        "hears of the new one",
        timeout(SOON, line.engine.accept()).await.is_ok(),
    );
    drop(new);
    line.read_what_is_left().await;
    line.proxy.set(Mode::OnlyToEngine);
    see(
        "only to the engine",
        line.comes_through(MOMENT).await == (true, false),
    );
    line.proxy.set(Mode::OnlyFromEngine);
    line.read_what_is_left().await;
    see(
        "only from the engine",
        line.comes_through(MOMENT).await == (false, true),
    );
    Ok(wrong)
}

/// All comes through, but late or slowly; or the connection is reset.
async fn trouble() -> Result<Vec<String>, BoxError> {
    let mut wrong = Vec::new();
    let mut line = Line::new().await?;
    let mut see = |what: &str, seen: bool| {
        if !seen {
            wrong.push(what.to_owned());
        }
    };
    let start = Instant::now();
    line.proxy.set(Mode::Delay(MOMENT));
    see(
        "delays",
        line.comes_through(SOON).await == (true, true) && start.elapsed() >= MOMENT,
    );
    see("throttles", line.throttles().await?);
    line.proxy.set(Mode::Cut);
    see("resets", line.is_reset().await);
    // Be it before it knows that it is connected.
    let is_reset = match TcpStream::connect(("127.0.0.1", line.proxy.port)).await {
        Ok(mut new) => timeout(SOON, new.read_u8()).await?.is_err(),
        Err(_) => true,
    };
    see("resets new ones", is_reset);
    Ok(wrong)
}

impl Line {
    async fn new() -> Result<Self, BoxError> {
        let engine = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Proxy::start(engine.local_addr()?.port())?;
        let node = TcpStream::connect(("127.0.0.1", proxy.port)).await?;
        let (accepted, _) = timeout(SOON, engine.accept()).await??;
        Ok(Self {
            proxy,
            engine,
            ends: (node, accepted),
        })
    }

    /// Sends a byte each way; reports whether something came to the engine, and from it.
    async fn comes_through(&mut self, within: Duration) -> (bool, bool) {
        let (node, engine) = &mut self.ends;
        let sent = tokio::join!(node.write_u8(1), engine.write_u8(1));
        let came = tokio::join!(
            timeout(within, engine.read_u8()),
            timeout(within, node.read_u8())
        );
        let is_good = |came: Result<io::Result<u8>, _>| matches!(came, Ok(Ok(_)));
        (
            sent.0.is_ok() && is_good(came.0),
            sent.1.is_ok() && is_good(came.1),
        )
    }

    async fn read_what_is_left(&mut self) {
        let (node, engine) = &mut self.ends;
        let mut buffer = [0; 64];
        while timeout(MOMENT, node.read(&mut buffer)).await.is_ok() {}
        while timeout(MOMENT, engine.read(&mut buffer)).await.is_ok() {}
    }

    /// Sends 256 KiB at 512 KiB a second.
    async fn throttles(&mut self) -> Result<bool, BoxError> {
        self.proxy.set(Mode::Throttle(512 << 10));
        let (node, engine) = &mut self.ends;
        let (sent, mut received) = (vec![7; 256 << 10], vec![0; 256 << 10]);
        let start = Instant::now();
        let (written, read) = tokio::join!(node.write_all(&sent), engine.read_exact(&mut received));
        written?;
        read?;
        self.proxy.set(Mode::Pass);
        Ok(received == sent && start.elapsed() > Duration::from_millis(300))
    }

    async fn is_reset(&mut self) -> bool {
        let (node, engine) = &mut self.ends;
        let both = async { tokio::join!(node.read_u8(), engine.read_u8()) };
        let Ok((node, engine)) = timeout(SOON, both).await else {
            return false;
        };
        let is_reset = |read: io::Result<u8>| {
            read.is_err_and(|it| it.kind() == io::ErrorKind::ConnectionReset)
        };
        is_reset(node) && is_reset(engine)
    }
}

/// Long enough for what comes at all.
const SOON: Duration = Duration::from_secs(20);

/// How long nothing may come.
const MOMENT: Duration = Duration::from_millis(40);
