//! The server: a process of its own, told what to do line by line.

use std::{
    future::Future,
    io::{self, Write},
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    runtime::Builder,
};
use tower_websocket::{
    Config, Connections, Groups, WebSocket, WebSocketLayer, handler, serve, session::Drain,
};

use crate::{
    connection::BROADCAST,
    stretch::{Polled, Stretches},
};

/// Serves until its standard input ends. Prints the port first, then an answer to each line.
///
/// - `broadcast LEN`: a message to all.
/// - `drain SECONDS`: closes all.
/// - `stretch`: the longest stretches so far, which begin anew.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let stretches = Stretches::default();
    let mut builder = if settings.threads == 1 {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    builder.worker_threads(settings.threads).enable_all();
    stretches.watch(&mut builder);
    builder.build()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("{}", listener.local_addr()?.port());
        if settings.raw {
            tokio::spawn(crate::raw::serve(listener));
            return obey(None, &stretches).await;
        }
        let (connections, groups) = (Connections::new(), Groups::new());
        let mut config = Config::default();
        if !settings.pings {
            config = config.ping_interval(None);
        }
        let members = settings.group.then(|| groups.clone());
        let route = handler(move |socket| echo(socket, members.clone()));
        let layer = WebSocketLayer::new(route)
            .config(config)
            .connections(&connections);
        tokio::spawn(async { serve(listener, layer.endpoint()).await });
        obey(Some((connections, groups)), &stretches).await
    })
}

/// What a server is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// No WebSocket: DATA of HTTP/2 comes back as it is.
    pub(crate) raw: bool,
    /// Every WebSocket is in one group.
    pub(crate) group: bool,
    /// The pings of each WebSocket, as by default, beside those of HTTP/2.
    pub(crate) pings: bool,
    pub(crate) threads: usize,
}

async fn echo(
    mut socket: WebSocket,
    groups: Option<Groups<&'static str>>,
) -> Result<(), tower_websocket::Error> {
    let _member = groups.map(|groups| groups.join(ALL, &socket.sender()));
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// Does what the lines say, in the tasks of the runtime that serves.
async fn obey(
    ours: Option<(Connections, Groups<&'static str>)>,
    stretches: &Stretches,
) -> io::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: usize = number.parse().map_err(io::Error::other)?;
        let said = match (word, &ours) {
            ("broadcast", Some((_, groups))) => {
                let (message, groups) = (Bytes::from(vec![BROADCAST; number]), groups.clone());
                let all = async move { groups.broadcast(ALL, message).await };
                let (delivery, time, longest) = timed(all).await?;
                let (sent, closed) = (delivery.sent, delivery.closed);
                format!(
                    "{sent} {closed} {} {}",
                    time.as_micros(),
                    longest.as_micros()
                )
            }
            ("drain", Some((connections, _))) => {
                let connections = connections.clone();
                let drain = Drain::default().timeout(Duration::from_secs(number as u64));
                let all = async move { connections.drain(drain).await };
                let (drained, time, longest) = timed(all).await?;
                let (ended, aborted) = (drained.ended, drained.aborted);
                format!(
                    "{ended} {aborted} {} {}",
                    time.as_micros(),
                    longest.as_micros()
                )
            }
            ("stretch", _) => stretches.take(),
            _ => format!("what is {line}?"),
        };
        println!("{said}");
        io::stdout().flush()?;
    }
    Ok(())
}

/// Runs in a task of its own; tells how long it took, and its longest poll.
async fn timed<F>(future: F) -> io::Result<(F::Output, Duration, Duration)>
where
    F: Future<Output: Send> + Send + 'static,
{
    let start = Instant::now();
    let (output, longest) = tokio::spawn(Polled::new(future)).await?;
    Ok((output, start.elapsed(), longest))
}

/// The group.
const ALL: &str = "all";
