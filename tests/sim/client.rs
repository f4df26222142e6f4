//! The clients' side: the crate's own, and one that knows nothing of it.

use std::{
    future::{Future, poll_fn},
    io,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use http::Request;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::mpsc,
    time::{sleep, timeout},
};
use tower_websocket::{CloseCode, Message, WebSocket};

use crate::{conn::Conn, message::Sender, rng::Rng};

/// How a client ends its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ending {
    /// With a Close frame, and waits for the answer.
    Closes,
    /// With the end of its side of the line.
    Ends,
    /// Without a word.
    Vanishes,
    /// In the middle of a frame.
    HalfFrame,
    /// With bytes that are no frame.
    Violates,
    /// Not by itself.
    Waits,
}

impl Ending {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        rng.pick(&[
            Self::Closes,
            Self::Closes,
            Self::Closes,
            Self::Ends,
            Self::Vanishes,
            Self::HalfFrame,
            Self::Violates,
            Self::Waits,
            Self::Waits,
            Self::Waits,
            Self::Waits,
        ])
    }
}

/// Opens an HTTP/1.1 line by hand; `None` where it fails.
pub(crate) async fn upgrade<S>(conn: &Conn, mut stream: S) -> Option<(S, Vec<u8>)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: sim\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        conn.path()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = Vec::new();
    let end = loop {
        if let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    };
    let rest = answer.split_off(end);
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    if !answer.starts_with("http/1.1 101 ") {
        return None;
    }
    // RFC 6455 §1.3.
    if !answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n") {
        conn.world.fail("another accept was answered");
    }
    Some((stream, rest))
}

/// A frame of RFC 6455 §5.2, as a client sends it.
fn frame(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}

/// Takes a frame from the front of what came; its first byte and its payload.
fn take_frame(received: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&[first, second], rest) = received.split_first_chunk()?;
    let (start, len) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
        len => (2, usize::from(len)),
    };
    if received.len() < start + len {
        return None;
    }
    let payload = received[start..start + len].to_vec();
    received.drain(..start + len);
    // A server masks nothing: the bit would have made the length wrong.
    Some((first | if second & 0x80 == 0 { 0 } else { 0x30 }, payload))
}

/// What the reading half has the writing half do.
enum Reply {
    Pong(Vec<u8>),
    Close(Vec<u8>),
}

/// Speaks by hand over an open line.
pub(crate) async fn speak<S>(conn: Arc<Conn>, stream: S, read: Vec<u8>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut rng = conn.rng();
    let ending = Ending::draw(&mut rng);
    conn.world
        .trace(|| format!("client {} by hand: {ending:?}", conn.number));
    let (reader, writer) = split(stream);
    let (replies, asked) = mpsc::unbounded_channel();
    let listening = listen(conn.clone(), reader, read, replies);
    let talking = talk(conn.clone(), writer, rng, ending, asked);
    if ending == Ending::Vanishes || ending == Ending::HalfFrame {
        // The line is dropped with what is unread.
        tokio::select! {
            biased;
            _ = talking => {}
            () = listening => {}
        }
        return;
    }
    let (_, _) = futures_util::future::join(listening, talking).await;
}

/// Receives until the end, and checks all of it.
async fn listen<S: AsyncRead>(
    conn: Arc<Conn>,
    mut reader: ReadHalf<S>,
    mut received: Vec<u8>,
    replies: mpsc::UnboundedSender<Reply>,
) {
    let mut open: Option<(u8, Vec<u8>)> = None;
    loop {
        while let Some((first, payload)) = take_frame(&mut received) {
            match first {
                0x01 | 0x02 if open.is_none() => open = Some((first, payload)),
                0x81 | 0x82 if open.is_none() => conn.arrived(first & 0x0f, payload),
                0x00 | 0x80 if open.is_some() => {
                    let (opcode, mut whole) = open.take().unwrap_or_default();
                    whole.extend(payload);
                    if first == 0x80 {
                        conn.arrived(opcode, whole);
                    } else {
                        open = Some((opcode, whole));
                    }
                }
                0x89 => drop(replies.send(Reply::Pong(payload))),
                0x8a => {}
                0x88 => {
                    conn.closed(payload.first_chunk().map(|code| u16::from_be_bytes(*code)));
                    drop(replies.send(Reply::Close(payload)));
                }
                _ => {
                    return conn
                        .world
                        .fail(&format!("{}: a frame {first:#x}", conn.number));
                }
            }
        }
        match reader.read_buf(&mut received).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Sends messages, replies and an end.
async fn talk<S: AsyncWrite>(
    conn: Arc<Conn>,
    mut writer: WriteHalf<S>,
    mut rng: Rng,
    ending: Ending,
    mut asked: mpsc::UnboundedReceiver<Reply>,
) -> io::Result<()> {
    if rng.percent(if conn.line.deafens() { 80 } else { 10 }) {
        bursts(&conn, &mut writer, &mut rng).await?;
    }
    for _ in 0..rng.below(conn.world.plan.steps) {
        if rng.percent(30) {
            // There is more time to be asked.
            if let Ok(reply) = timeout(rng.millis(40), asked.recv()).await
                && !answer(&mut writer, &mut rng, reply).await?
            {
                return Ok(());
            }
        }
        while let Ok(reply) = asked.try_recv() {
            if !answer(&mut writer, &mut rng, Some(reply)).await? {
                return Ok(());
            }
        }
        if rng.percent(10) {
            writer
                .write_all(&frame(0x89, b"hello", [1, 2, 3, 4]))
                .await?;
        }
        let message = conn.up.next(Sender(0), rng.len());
        send(&mut writer, &mut rng, &message).await?;
        conn.up.accepted(Sender(0));
    }
    match ending {
        Ending::Waits => {}
        Ending::Ends => writer.shutdown().await?,
        Ending::Vanishes => return Ok(()),
        Ending::HalfFrame => {
            let whole = frame(0x82, &[7; 100], [9; 4]);
            writer.write_all(&whole[..rng.within(1..=100)]).await?;
            writer.flush().await?;
            return Ok(());
        }
        Ending::Violates => {
            let wrong = rng.pick(&[
                &[0x83, 0x80, 0, 0, 0, 0][..],
                &[0x81, 0x01, b'a'],
                &[0xc1, 0x80],
            ]);
            writer.write_all(wrong).await?;
            writer.flush().await?;
        }
        Ending::Closes => {
            let key = [rng.next() as u8; 4];
            writer
                .write_all(&frame(0x88, &1000_u16.to_be_bytes(), key))
                .await?;
            writer.flush().await?;
            // One Close is enough.
            while asked.recv().await.is_some() {}
            return Ok(());
        }
    }
    while let Some(reply) = asked.recv().await {
        if !answer(&mut writer, &mut rng, Some(reply)).await? {
            break;
        }
    }
    Ok(())
}

/// Sends many messages at once, again and again at round times: deadlines may pass just then.
async fn bursts<W: AsyncWrite + Unpin>(
    conn: &Conn,
    writer: &mut W,
    rng: &mut Rng,
) -> io::Result<()> {
    let len = rng.pick(&[0, 100, 1_000, 1_000]);
    if conn.line.deafens() {
        // What the server writes gets nowhere: about ten seconds later it gives up, amid all this.
        let mut times: Vec<_> = (990..1_050)
            .map(|time| Box::pin(sleep(Duration::from_millis(10 * time))))
            .collect();
        if rng.percent(70) {
            // Asked for first, they come first where they come with a deadline of the server.
            for time in &mut times {
                poll_fn(|cx| Poll::Ready(time.as_mut().poll(cx).is_ready())).await;
            }
        }
        burst(conn, writer, rng.within(10..=60), len).await?;
        for time in times {
            time.await;
            burst(conn, writer, rng.within(8..=20), len).await?;
        }
        return Ok(());
    }
    let pause = rng.pick(&[1, 5, 10]);
    for _ in 0..rng.within(2..=3) {
        burst(conn, writer, rng.within(30..=60), len).await?;
        sleep(Duration::from_secs(pause)).await;
    }
    Ok(())
}

async fn burst<W: AsyncWrite + Unpin>(
    conn: &Conn,
    writer: &mut W,
    count: usize,
    len: usize,
) -> io::Result<()> {
    let mut burst = Vec::new();
    for at in 0..count {
        let message = conn.up.later(Sender(0), at as u32, len);
        let opcode = if message.is_text() { 0x81 } else { 0x82 };
        burst.extend(frame(opcode, message.as_bytes(), [5, 6, 7, 8]));
    }
    // It is one piece of bytes: they count when all of them are sent.
    conn.up.begins(Sender(0), count as u32);
    writer.write_all(&burst).await?;
    writer.flush().await?;
    conn.up.begun(Sender(0));
    Ok(())
}

/// Answers; `false` once the closing handshake is through.
async fn answer<W: AsyncWrite + Unpin>(
    writer: &mut W,
    rng: &mut Rng,
    reply: Option<Reply>,
) -> io::Result<bool> {
    let key = [rng.next() as u8; 4];
    let (first, payload) = match reply {
        None => return Ok(false),
        Some(Reply::Pong(payload)) => (0x8a, payload),
        Some(Reply::Close(payload)) => (0x88, payload),
    };
    writer.write_all(&frame(first, &payload, key)).await?;
    writer.flush().await?;
    Ok(first == 0x8a)
}

/// Sends a message, whole or in fragments with pings between them.
async fn send<W: AsyncWrite + Unpin>(
    writer: &mut W,
    rng: &mut Rng,
    message: &Message,
) -> io::Result<()> {
    let key = (rng.next() as u32).to_be_bytes();
    let opcode = if message.is_text() { 1 } else { 2 };
    let bytes = message.as_bytes();
    let size = if rng.percent(70) {
        bytes.len()
    } else {
        rng.within(1..=bytes.len())
    };
    // No more than a receiver takes.
    let size = size.max(bytes.len() / 200).max(1);
    let count = bytes.len().div_ceil(size).max(1);
    for index in 0..count {
        let piece = &bytes[index * size..bytes.len().min((index + 1) * size)];
        let fin = if index + 1 == count { 0x80 } else { 0 };
        let first = fin | if index == 0 { opcode } else { 0 };
        writer.write_all(&frame(first, piece, key)).await?;
        if rng.percent(5) {
            writer.write_all(&frame(0x89, b"between", key)).await?;
        }
    }
    writer.flush().await
}

/// Speaks with the crate's own client.
pub(crate) async fn use_client(conn: Arc<Conn>, socket: WebSocket) {
    let mut rng = conn.rng();
    conn.world
        .trace(|| format!("client {} of the crate", conn.number));
    let (sender, mut receiver) = socket.split();
    let (to, mut writing) = (conn.clone(), rng.fork());
    let handle = sender.clone();
    tokio::spawn(async move {
        for _ in 0..writing.below(to.world.plan.steps) {
            let message = to.up.next(Sender(0), writing.len());
            let busy = to.busy();
            if handle.send(message).await.is_err() {
                break;
            }
            drop(busy);
            to.up.accepted(Sender(0));
            if writing.percent(20) {
                sleep(writing.millis(30)).await;
            }
            if writing.percent(5) {
                let _closed = handle.ping("hello");
            }
        }
        match writing.below(6) {
            0 => handle.abort(),
            1..4 => {
                to.client_closes();
                handle.close(CloseCode::NORMAL);
            }
            _ => {}
        }
    });
    let impatient = rng.percent(20);
    let patience = if impatient {
        rng.millis(500)
    } else {
        Duration::from_secs(1_000_000)
    };
    let all = async {
        loop {
            match receiver.recv().await {
                Ok(Some(message)) => conn.received(&message),
                Ok(None) => {
                    conn.closed(receiver.received_close().map(|frame| frame.code().as_u16()));
                    return;
                }
                Err(_) => return,
            }
        }
    };
    if timeout(patience, all).await.is_err() {
        conn.client_closes();
        if rng.percent(50) {
            sender.abort();
        }
    }
}

/// The request of an Extended CONNECT (RFC 8441 §4).
pub(crate) fn extended_connect(conn: &Conn) -> Request<()> {
    Request::connect(format!("http://sim{}", conn.path()))
        .header("sec-websocket-version", "13")
        .extension(h2::ext::Protocol::from_static("websocket"))
        .body(())
        .expect("a request")
}
