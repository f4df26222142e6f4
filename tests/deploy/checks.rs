//! What has to be so behind every proxy.

use std::{future::Future, net::IpAddr, time::Duration};

use http::StatusCode;
use tokio::time::{Instant, sleep, timeout};
use tower_websocket::{CloseCode, WebSocket, client::ConnectError};

use crate::{
    Failure, HOST,
    browser::{Browser, Opened},
    server::Ended,
};

/// How long each step may take: nothing here is slow unless it is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// More than twice the second after which the proxies are told to end what is silent.
const SILENCE: Duration = Duration::from_millis(2500);

/// What is to be expected of a proxy.
pub(crate) struct Expected {
    /// The version that reaches the server; `None` if the proxy does not take the client's.
    pub(crate) server: Option<String>,
    /// It ends what is silent for a second.
    pub(crate) cuts: bool,
    /// It announces the client's address by the PROXY protocol.
    pub(crate) announced: bool,
    /// It passes TLS on as it is, and so adds no header.
    pub(crate) passes: bool,
    /// It forwards a client of this machine as another address of this machine, as Envoy does.
    pub(crate) other_address: bool,
}

macro_rules! ensure {
    ($holds:expr, $($otherwise:tt)*) => {
        if !$holds {
            return Err(format!($($otherwise)*).into());
        }
    };
}

/// Runs all checks, and returns what was seen.
pub(crate) async fn run(
    browser: &Browser,
    expected: &Expected,
    ended: &Ended,
) -> Result<String, Failure> {
    let own = format!("https://{HOST}");
    let Some(server) = &expected.server else {
        let opened = within("a refusal", browser.open("/echo", &own)).await?;
        let refused = matches!(opened, Err(ConnectError::NoExtendedConnect));
        ensure!(
            refused,
            "WebSocket over HTTP/2 is announced, or fails otherwise"
        );
        return Ok(
            "no WebSocket over HTTP/2: browsers open another connection, over HTTP/1.1".to_owned(),
        );
    };
    let opened = within("the handshake", browser.open("/echo", &own)).await??;
    let client = format!("{:?}", opened.response.version());
    let mut socket = greeted(opened, server, expected).await?;
    ensure!(socket.is_compressed(), "no compression was agreed on");
    messages(&mut socket).await?;
    socket.send("close").await?;
    let end = within("the end", socket.recv()).await?;
    ensure!(
        matches!(end, Ok(None)),
        "the server's Close came as {end:?}"
    );
    let close = socket
        .received_close()
        .map(|close| (close.code().as_u16(), close.reason().to_owned()));
    ensure!(
        close == Some((4002, "enough".to_owned())),
        "the server's Close came as {close:?}"
    );
    ends_with(ended, 4002).await?;

    client_closes(browser, &own, ended).await?;
    foreign_page(browser).await?;
    let quiet = silence(browser, &own, expected).await?;
    ends_with(ended, 1000).await?;
    Ok(format!(
        "{client} to {server}: messages, compression, both closes, origins, pings; {quiet}"
    ))
}

/// Checks what the server has seen of the request.
async fn greeted(opened: Opened, server: &str, expected: &Expected) -> Result<WebSocket, Failure> {
    let local = opened.local;
    let mut socket = opened.response.into_body();
    let seen = within("what the server saw", socket.recv()).await??;
    let seen = seen
        .as_ref()
        .and_then(|message| message.as_text())
        .unwrap_or_default();
    let [version, host, peer, forwarded] = seen.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("the server saw {seen:?}").into());
    };
    ensure!(version == server, "{version} has reached the server");
    ensure!(host == HOST, "the server was asked for {host}");
    if expected.announced {
        ensure!(peer == local.to_string(), "{local} was announced as {peer}");
    }
    let forwarded: Option<IpAddr> = forwarded.parse().ok();
    let told = match forwarded {
        None => expected.passes,
        Some(address) => address == local.ip() || expected.other_address,
    };
    ensure!(told, "the last X-Forwarded-For is {forwarded:?}");
    Ok(socket)
}

async fn messages(socket: &mut WebSocket) -> Result<(), Failure> {
    // Random enough that compression does not make it small.
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let large: Vec<u8> = (0..300_000).map(|_| byte()).collect();
    socket.send("hello").await?;
    socket.send(large.clone()).await?;
    let hello = within("an echo", socket.recv()).await??;
    ensure!(hello == Some("hello".into()), "the echo is {hello:?}");
    let echo = within("a large echo", socket.recv()).await??;
    ensure!(echo == Some(large.into()), "the large echo is another");
    Ok(())
}

async fn client_closes(browser: &Browser, own: &str, ended: &Ended) -> Result<(), Failure> {
    let opened = within("the handshake", browser.open("/echo", own)).await??;
    let socket = opened.response.into_body();
    socket.close((CloseCode::new(4001).ok_or("an own code")?, "goodbye"));
    within("the answer to a Close", socket.closed()).await?;
    let answer = socket.received_close().map(|close| close.code().as_u16());
    ensure!(
        answer == Some(4001),
        "the client's Close was answered by {answer:?}"
    );
    ends_with(ended, 4001).await
}

async fn foreign_page(browser: &Browser) -> Result<(), Failure> {
    let opened = browser.open("/echo", "https://elsewhere.example");
    let status = match within("a refusal", opened).await? {
        Ok(_) => return Err("a page of another site was let in".into()),
        Err(error) => error.status(),
    };
    ensure!(
        status == Some(StatusCode::FORBIDDEN),
        "another site's page got {status:?}"
    );
    Ok(())
}

/// Checks that pings keep a connection open, and sees what becomes of one without them.
async fn silence(
    browser: &Browser,
    own: &str,
    expected: &Expected,
) -> Result<&'static str, Failure> {
    let mut pinged = within("the handshake", browser.open("/echo", own))
        .await??
        .response
        .into_body();
    let mut silent = within("the handshake", browser.open("/silent", own))
        .await??
        .response
        .into_body();
    for socket in [&mut pinged, &mut silent] {
        within("the first message", socket.recv()).await??;
    }
    let since = Instant::now();
    let (end, ()) = tokio::join!(timeout(SILENCE, silent.recv()), sleep(SILENCE));
    ensure!(pinged.is_open(), "pings did not keep a connection open");
    pinged.send("still there?").await?;
    let echo = within("an echo after silence", pinged.recv()).await??;
    ensure!(
        echo == Some("still there?".into()),
        "after {:?}: {echo:?}",
        since.elapsed()
    );
    pinged.close(CloseCode::NORMAL);
    within("the end", pinged.closed()).await?;
    match end {
        Ok(Err(_)) if expected.cuts => Ok("without pings: ended, with 1006"),
        Err(_) if !expected.cuts => Ok("without pings: open"),
        other => Err(format!("without pings: {other:?}").into()),
    }
}

/// Waits until a connection of the server has ended with this code.
async fn ends_with(ended: &Ended, code: u16) -> Result<(), Failure> {
    let mut ended = ended.lock().await;
    loop {
        let seen = within("a report of the server", ended.recv()).await?;
        match seen.ok_or("the server is gone")? {
            // Of the connection that the proxy has ended.
            1006 => {}
            seen => {
                ensure!(
                    seen == code,
                    "the server's connection ended with {seen}, not {code}"
                );
                return Ok(());
            }
        }
    }
}

async fn within<T>(what: &str, done: impl Future<Output = T>) -> Result<T, Failure> {
    let late = |_| format!("nothing came within {PATIENCE:?}: {what}").into();
    timeout(PATIENCE, done).await.map_err(late)
}
