//! The server's side: handlers of every shape.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use http::{Request, request::Parts};
use tokio::{io::AsyncWriteExt, sync::mpsc, task::yield_now, time::sleep};
use tower_websocket::{
    CloseCode, Error, Message, MessageKind, Receiver, Sender as Handle, Utf8Bytes, WebSocket,
    groups::Membership, service::EventHandler,
};

use crate::{conn::Conn, message::Sender, rng::Rng, world::World};

/// What a planned panic says.
pub(crate) const PLANNED: &str = "as planned";

/// Polls a future so many times, then drops it.
async fn give_up<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Awaits a future, or polls it a few times and drops it.
///
/// Nobody may wait for ever for what he does to a connection that lives.
async fn perhaps<T>(conn: &Conn, rng: &mut Rng, future: impl Future<Output = T>) -> Option<T> {
    if rng.percent(75) {
        let _busy = conn.busy();
        return Some(future.await);
    }
    give_up(future, rng.within(1..=3)).await
}

/// Awaits what is to come, or polls it a few times and drops it.
async fn attentive<T>(conn: &Conn, rng: &mut Rng, future: impl Future<Output = T>) -> Option<T> {
    if rng.percent(75) {
        let _attentive = conn.attentive();
        return Some(future.await);
    }
    give_up(future, rng.within(1..=3)).await
}

/// Receives one message; `false` at the end.
async fn receive(conn: &Conn, rng: &mut Rng, receiver: &mut Receiver) -> bool {
    if rng.percent(10) {
        return receive_pieces(conn, rng, receiver).await;
    }
    match attentive(conn, rng, receiver.recv()).await {
        None => true,
        Some(Ok(Some(message))) => {
            conn.up.received(&message, None);
            true
        }
        Some(end) => conn.receiving_ended(end.map(drop)),
    }
}

/// Receives one message as it comes. Once a piece was taken it has to be taken to its end.
async fn receive_pieces(conn: &Conn, rng: &mut Rng, receiver: &mut Receiver) -> bool {
    let mut reader = match attentive(conn, rng, receiver.recv_reader()).await {
        None => return true,
        Some(Ok(Some(reader))) => reader,
        Some(end) => return conn.receiving_ended(end.map(drop)),
    };
    let (kind, mut whole) = (reader.kind(), Vec::new());
    loop {
        match attentive(conn, rng, reader.chunk()).await {
            None => {}
            Some(Ok(Some(chunk))) => whole.extend_from_slice(&chunk),
            Some(Ok(None)) => break,
            Some(Err(error)) => return conn.receiving_ended(Err(error)),
        }
    }
    let message = match kind {
        MessageKind::Binary => Message::binary(whole),
        _ => match String::from_utf8(whole) {
            Ok(text) => Message::text(text),
            Err(_) => {
                conn.world.fail("a text of pieces is no text");
                return false;
            }
        },
    };
    conn.up.received(&message, None);
    true
}

/// Sends one message in one of the ways there are; `false` once nothing can be sent any more.
async fn send(conn: &Conn, rng: &mut Rng, socket: &Handle, from: Sender) -> bool {
    let message = conn.down.next(from, rng.len());
    match rng.below(10) {
        0..6 => match perhaps(conn, rng, socket.send(message)).await {
            Some(Ok(())) => conn.down.accepted(from),
            Some(Err(_)) => return false,
            None => {}
        },
        6..9 => match socket.try_send(message) {
            Ok(()) => conn.down.accepted(from),
            Err(error) if error.is_full() => {
                let _given_up = perhaps(conn, rng, socket.flush()).await;
            }
            Err(_) => return false,
        },
        _ => return send_pieces(conn, rng, socket, &message, from).await,
    }
    true
}

async fn send_pieces(
    conn: &Conn,
    rng: &mut Rng,
    socket: &Handle,
    message: &Message,
    from: Sender,
) -> bool {
    let kind = if message.is_text() {
        MessageKind::Text
    } else {
        MessageKind::Binary
    };
    let mut writer = match perhaps(conn, rng, socket.send_writer(kind)).await {
        None => return true,
        Some(Ok(writer)) => writer,
        Some(Err(_)) => return false,
    };
    let bytes = message.as_bytes();
    let stops = rng.percent(5);
    for piece in bytes.chunks(rng.within(1..=bytes.len().max(1))) {
        if stops && rng.percent(50) {
            // What has left of it cannot be taken back: the connection closes.
            conn.down_is_torn();
            return true;
        }
        let _busy = conn.busy();
        if writer.write_all(piece).await.is_err() {
            conn.down_is_torn();
            return false;
        }
        if rng.percent(20) {
            let _failed = perhaps(conn, rng, writer.flush()).await;
        }
    }
    // Whatever the end of it says, it may have left.
    conn.down.accepted(from);
    let _busy = conn.busy();
    if writer.finish().await.is_err() {
        conn.down_is_torn();
        return false;
    }
    true
}

/// Does something else with a connection.
async fn fiddle(conn: &Conn, rng: &mut Rng, socket: &Handle) {
    match rng.below(8) {
        0 => {
            let _closed = socket.ping(Bytes::from_static(b"are you there"));
        }
        1 => {
            let _closed = socket.pong(Bytes::new());
        }
        2 => {
            let _given_up = perhaps(conn, rng, socket.flush()).await;
        }
        3 => yield_now().await,
        4 => sleep(rng.millis(20)).await,
        5 => {
            let _given_up = give_up(socket.closed(), rng.within(1..=2)).await;
        }
        6 => {
            let queued = socket.queued_bytes();
            if queued > conn.world.plan.most_queued() {
                conn.world.fail(&format!("{queued} bytes are queued"));
            }
        }
        _ => {}
    }
}

/// How a handler ends.
fn leave(rng: &mut Rng, socket: &Handle) -> Result<(), Error> {
    match rng.below(12) {
        0 => panic!("{PLANNED}"),
        1 => Err(Error::Closed),
        2 => {
            socket.abort();
            Ok(())
        }
        3 => {
            socket.close((CloseCode::new(4000).expect("a code"), "enough"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Sends a few messages from another task.
fn sender_elsewhere(conn: &Arc<Conn>, rng: &mut Rng, socket: &Handle, from: Sender) {
    let (conn, mut rng, socket) = (conn.clone(), rng.fork(), socket.clone());
    tokio::spawn(async move {
        for _ in 0..rng.below(12) {
            if !send(&conn, &mut rng, &socket, from).await {
                break;
            }
            fiddle(&conn, &mut rng, &socket).await;
        }
    });
}

/// Receives everything, until the end.
async fn receive_all(conn: &Conn, rng: &mut Rng, receiver: &mut Receiver) {
    while receive(conn, rng, receiver).await {
        if rng.percent(3) {
            sleep(rng.millis(300)).await;
        }
    }
    conn.has_read_all();
}

/// A handler whose shape and steps are drawn.
pub(crate) async fn handle(world: Arc<World>, request: Request<WebSocket>) -> Result<(), Error> {
    let (head, socket) = request.into_parts();
    let conn = world.conn_of(&head);
    conn.is_open(socket.id());
    drop(head);
    let mut rng = conn.rng();
    let memberships = join(&conn, &mut rng, &socket.sender());
    if rng.percent(30) {
        sender_elsewhere(&conn, &mut rng, &socket.sender(), Sender(1));
    }
    let shape = if conn.world.plan.deaf {
        9
    } else {
        rng.below(10)
    };
    world.trace(|| format!("handler {} has shape {shape}", conn.number));
    let result = match shape {
        0 | 1 => echo(&conn, &mut rng, socket).await,
        2 => select(&conn, &mut rng, socket).await,
        3 => halves(&conn, &mut rng, socket).await,
        4 => moved(&conn, &mut rng, socket).await,
        5 => moved_in_the_middle(&conn, &mut rng, socket).await,
        6 => deaf(&conn, &mut rng, socket).await,
        7 => talks(&conn, &mut rng, socket).await,
        9 => plain_echo(&conn, socket).await,
        _ => steps(&conn, &mut rng, socket).await,
    };
    drop(memberships);
    result
}

/// Joins groups, or is in them for a while.
fn join(conn: &Arc<Conn>, rng: &mut Rng, socket: &Handle) -> Vec<Membership<u8>> {
    let mut memberships = Vec::new();
    for key in 0..3 {
        if rng.percent(40)
            && let Ok(membership) = conn.world.groups.join(key, socket)
        {
            memberships.push(membership);
        }
    }
    if rng.percent(30)
        && let Some(membership) = memberships.pop()
    {
        let after = rng.millis(100);
        tokio::spawn(async move {
            sleep(after).await;
            drop(membership);
        });
    }
    memberships
}

async fn echo(conn: &Arc<Conn>, rng: &mut Rng, socket: WebSocket) -> Result<(), Error> {
    let (socket, mut receiver) = socket.split();
    while receive(conn, rng, &mut receiver).await {
        if !send(conn, rng, &socket, Sender(0)).await {
            break;
        }
    }
    receive_all(conn, rng, &mut receiver).await;
    Ok(())
}

async fn plain_echo(conn: &Arc<Conn>, mut socket: WebSocket) -> Result<(), Error> {
    loop {
        let received = {
            let _attentive = conn.attentive();
            socket.recv().await
        };
        let Ok(Some(message)) = received else {
            conn.receiving_ended(received.map(drop));
            conn.has_read_all();
            return Ok(());
        };
        conn.up.received(&message, None);
        let answer = conn.down.next(Sender(0), message.len());
        let _busy = conn.busy();
        socket.send(answer).await?;
        conn.down.accepted(Sender(0));
    }
}

async fn select(conn: &Arc<Conn>, rng: &mut Rng, socket: WebSocket) -> Result<(), Error> {
    let (told, mut ticks) = mpsc::unbounded_channel();
    let mut clock = rng.fork();
    tokio::spawn(async move {
        for _ in 0..clock.below(20) {
            sleep(clock.millis(30)).await;
            if told.send(()).is_err() {
                break;
            }
        }
    });
    let (socket, mut receiver) = socket.split();
    loop {
        tokio::select! {
            biased;
            tick = ticks.recv() => {
                if tick.is_none() {
                    break;
                }
                send(conn, rng, &socket, Sender(0)).await;
            }
            received = receiver.recv() => match received {
                Ok(Some(message)) => conn.up.received(&message, None),
                end => {
                    conn.receiving_ended(end.map(drop));
                    conn.has_read_all();
                    return Ok(());
                }
            },
        }
    }
    leave(rng, &socket)
}

async fn halves(conn: &Arc<Conn>, rng: &mut Rng, socket: WebSocket) -> Result<(), Error> {
    let (socket, mut receiver) = socket.split();
    let (mut reading, mut writing) = (rng.fork(), rng.fork());
    let read = receive_all(conn, &mut reading, &mut receiver);
    let write = async {
        for _ in 0..writing.below(30) {
            if !send(conn, &mut writing, &socket, Sender(0)).await {
                break;
            }
            fiddle(conn, &mut writing, &socket).await;
        }
        if writing.percent(30) {
            socket.close(CloseCode::NORMAL);
        }
    };
    futures_util::future::join(read, write).await;
    Ok(())
}

async fn moved(conn: &Arc<Conn>, rng: &mut Rng, socket: WebSocket) -> Result<(), Error> {
    let (socket, mut receiver) = socket.split();
    sender_elsewhere(conn, rng, &socket, Sender(2));
    let (conn, mut rng) = (conn.clone(), rng.fork());
    tokio::spawn(async move { receive_all(&conn, &mut rng, &mut receiver).await });
    Ok(())
}

async fn moved_in_the_middle(
    conn: &Arc<Conn>,
    rng: &mut Rng,
    socket: WebSocket,
) -> Result<(), Error> {
    let (socket, mut receiver) = socket.split();
    for _ in 0..rng.below(6) {
        if !receive(conn, rng, &mut receiver).await {
            conn.has_read_all();
            return Ok(());
        }
    }
    send(conn, rng, &socket, Sender(0)).await;
    let (to, mut rng) = (conn.clone(), rng.fork());
    let elsewhere = tokio::spawn(async move {
        for _ in 0..rng.below(6) {
            if !receive(&to, &mut rng, &mut receiver).await {
                to.has_read_all();
                return None;
            }
        }
        Some((receiver, rng))
    });
    if let Ok(Some((mut receiver, mut rng))) = elsewhere.await {
        receive_all(conn, &mut rng, &mut receiver).await;
    }
    Ok(())
}

/// Takes a few messages, then none for long.
async fn deaf(conn: &Arc<Conn>, rng: &mut Rng, socket: WebSocket) -> Result<(), Error> {
    let (socket, mut receiver) = socket.split();
    for _ in 0..rng.below(4) {
        if !receive(conn, rng, &mut receiver).await {
            conn.has_read_all();
            return Ok(());
        }
    }
    sleep(rng.millis(3_000)).await;
    send(conn, rng, &socket, Sender(0)).await;
    if rng.percent(50) {
        drop(receiver);
        sleep(rng.millis(100)).await;
        return leave(rng, &socket);
    }
    receive_all(conn, rng, &mut receiver).await;
    Ok(())
}

/// Sends, and receives nothing.
async fn talks(conn: &Arc<Conn>, rng: &mut Rng, socket: WebSocket) -> Result<(), Error> {
    let handle = socket.sender();
    for _ in 0..rng.below(60) {
        if !send(conn, rng, &handle, Sender(0)).await {
            break;
        }
    }
    if rng.percent(50) {
        let _given_up = perhaps(conn, rng, handle.flush()).await;
    }
    drop(socket);
    leave(rng, &handle)
}

async fn steps(conn: &Arc<Conn>, rng: &mut Rng, socket: WebSocket) -> Result<(), Error> {
    let (socket, mut receiver) = socket.split();
    for _ in 0..rng.below(60) {
        match rng.below(10) {
            0..4 => {
                if !receive(conn, rng, &mut receiver).await {
                    conn.has_read_all();
                    return Ok(());
                }
            }
            4..8 => {
                send(conn, rng, &socket, Sender(0)).await;
            }
            _ => fiddle(conn, rng, &socket).await,
        }
    }
    leave(rng, &socket)
}

/// A handler made of callbacks.
#[derive(Clone)]
pub(crate) struct Callbacks {
    world: Arc<World>,
    conn: Option<Arc<Conn>>,
    rng: Rng,
}

impl Callbacks {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        Self {
            world: world.clone(),
            conn: None,
            rng: Rng::new(0),
        }
    }

    async fn message(&mut self, socket: &Handle, message: Message) {
        let Some(conn) = &self.conn else {
            return self.world.fail("a message before `on_open`");
        };
        conn.up.received(&message, None);
        match self.rng.below(40) {
            0 => panic!("{PLANNED}"),
            1 => socket.close(CloseCode::NORMAL),
            2 => socket.abort(),
            3 => sleep(self.rng.millis(200)).await,
            4..30 => {
                send(conn, &mut self.rng, socket, Sender(0)).await;
            }
            _ => {}
        }
    }
}

impl EventHandler for Callbacks {
    async fn on_open(&mut self, socket: &Handle, head: &Parts) {
        let conn = self.world.conn_of(head);
        conn.is_open(socket.id());
        self.rng = conn.rng();
        if self.rng.percent(30) {
            sender_elsewhere(&conn, &mut self.rng, socket, Sender(1));
        }
        self.conn = Some(conn);
    }

    async fn on_text(&mut self, socket: &Handle, text: Utf8Bytes) {
        self.message(socket, Message::Text(text)).await;
    }

    async fn on_binary(&mut self, socket: &Handle, payload: Bytes) {
        self.message(socket, Message::Binary(payload)).await;
    }

    async fn on_close(&mut self, _: &Handle, _: Option<tower_websocket::CloseFrame>) {
        if let Some(conn) = &self.conn {
            conn.receiving_ended(Ok(()));
            conn.has_read_all();
        }
    }

    async fn on_error(&mut self, _: &Handle, error: Error) {
        if let Some(conn) = &self.conn {
            conn.receiving_ended(Err(error));
            conn.has_read_all();
        }
    }
}
