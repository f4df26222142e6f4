//! Clients of this crate that come and go, over HTTP/1.1 and HTTP/2, on fast lines and slow ones, and
//! those that begin something and leave it at that.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{Request, Uri};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tower::BoxError;
use tower_websocket::{
    CloseCode, Compression, Config, Message, WebSocket,
    client::{Client, HttpVersion},
};

use super::{
    raw::{Wire, dial},
    soak::Course,
};

/// One client after another.
pub(crate) async fn churn(course: Arc<Course>, number: u32) {
    while !course.is_over() {
        let began = course.generation();
        let done = match number % 8 {
            0 => half_open(&course).await,
            1 => many(&course).await,
            2 => one(&course, course.slow, number.is_multiple_of(16)).await,
            _ => one(&course, course.port, course.random(2) == 0).await,
        };
        if let Err(failure) = done {
            course.blame(began, format!("a client of ours: {failure}"));
        }
        course.pause(500).await;
    }
}

fn client(course: &Course, http2: bool) -> (Client, Request<()>) {
    let deflate = course.random(3) == 0;
    let config = Config::default();
    let config = match deflate {
        true => config.compression(Compression::shared()),
        false => config,
    };
    let version = if http2 {
        HttpVersion::Http2
    } else {
        HttpVersion::Http1
    };
    let path = if deflate {
        "/soaked-deflate"
    } else {
        "/soaked"
    };
    let mut request = Request::new(());
    let uri = format!("ws://localhost{path}").parse();
    *request.uri_mut() = uri.unwrap_or_else(|_| Uri::from_static("/"));
    (Client::new().config(config).http_version(version), request)
}

async fn one(course: &Course, port: u16, http2: bool) -> Result<(), BoxError> {
    let (client, request) = client(course, http2);
    let stream = if port == course.slow {
        TcpStream::connect(("127.0.0.1", port)).await?
    } else {
        dial(port).await?
    };
    let socket = client.request_over(stream, request).await?.into_body();
    talk(course, socket, port == course.slow).await
}

/// Several over one HTTP/2 connection.
async fn many(course: &Arc<Course>) -> Result<(), BoxError> {
    let (client, request) = client(course, true);
    let connection = client
        .connect_http2_over(dial(course.port).await?, request.uri().clone())
        .await?;
    let mut sockets = Vec::new();
    for _ in 0..1 + course.random(8) {
        sockets.push(connection.request(request.clone()).await?.into_body());
    }
    let mut tasks = tokio::task::JoinSet::new();
    for socket in sockets {
        let course = course.clone();
        tasks.spawn(async move { talk(&course, socket, false).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Says things and hears them again, for a while; then it ends, one way or another.
async fn talk(course: &Course, mut socket: WebSocket, slow: bool) -> Result<(), BoxError> {
    course.opened.fetch_add(1, Ordering::Relaxed);
    let end = Instant::now() + Duration::from_millis(50 + course.random(10_000));
    let most = if slow {
        2 << 10
    } else {
        1 << course.random(17)
    };
    while Instant::now() < end && !course.is_over() {
        let mut waiting = VecDeque::new();
        for _ in 0..1 + course.random(4) {
            let message = message(course, most);
            waiting.push_back(message.clone());
            socket.send(message).await?;
        }
        while let Some(expected) = waiting.front() {
            let Some(message) = timeout(STUCK, socket.recv()).await?? else {
                return Err("closed by the server".into());
            };
            if message
                .as_text()
                .is_some_and(|text| text.starts_with("room "))
            {
                continue;
            }
            if message != *expected {
                return Err(format!(
                    "an echo of {} bytes and not {}",
                    message.len(),
                    expected.len()
                )
                .into());
            }
            waiting.pop_front();
            course.echoed.fetch_add(1, Ordering::Relaxed);
        }
        course.pause(400).await;
    }
    match course.random(4) {
        0 => {
            socket.close(CloseCode::NORMAL);
            while socket.recv().await?.is_some() {}
        }
        1 => socket.sender().abort(),
        2 => drop(socket.split().0),
        _ => drop(socket),
    }
    Ok(())
}

fn message(course: &Course, most: u64) -> Message {
    let size = course.random(most) as usize;
    let byte = b'a' + course.random(26) as u8;
    let bytes = vec![byte; size];
    match course.random(2) {
        0 => Message::binary(bytes),
        _ => Message::from(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Half a request, half a frame, or nothing, for some seconds.
async fn half_open(course: &Course) -> Result<(), BoxError> {
    let patience = Duration::from_millis(course.random(12_000));
    let http2 = course.random(2) == 0;
    if course.random(3) == 0 {
        let mut stream = dial(course.port).await?;
        if course.random(2) == 0 {
            stream
                .write_all(b"GET /soaked HTTP/1.1\r\nHost: lo")
                .await?;
        }
        wait(course, patience).await;
        return Ok(());
    }
    let mut wire = Wire::connect(course.port, http2).await?;
    let id = wire.ask("/soaked", "13").await?;
    if !wire.answer(id).await? {
        return Err("it was refused".into());
    }
    // The first half of a message of 64 KiB.
    let mut half = b"\x82\xfe\xff\xff\0\0\0\0".to_vec();
    half.resize(32 << 10, 0);
    wire.say(id, &half[..course.random(half.len() as u64) as usize])
        .await?;
    wait(course, patience).await;
    if course.random(2) == 0 {
        wire.reset_all()?;
    }
    Ok(())
}

/// Sleeps, until it is over.
async fn wait(course: &Course, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end && !course.is_over() {
        sleep(Duration::from_millis(100)).await;
    }
}

/// Longer than an echo takes over the slowest line.
const STUCK: Duration = Duration::from_secs(60);
