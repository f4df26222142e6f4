//! Uploads of any size, told how far they are while they come in.
//!
//! Run: `cargo run --example upload`; files end up in the folder `uploads`. The example `pages`
//! has a page for it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{Router, routing::any, serve::ListenerExt};
use serde::Deserialize;
use serde_json::json;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tower_websocket::{
    CloseCode, Config, Error, MessageKind, Sender, WebSocket, WebSocketLayer, handler,
    session::MessageReader,
};

/// The most that a file may have, in bytes.
const LIMIT: u64 = 1 << 30;
/// So many bytes are told of at once.
pub(crate) const STEP: u64 = 256 << 10;

/// Where uploads go; each has a name of the server's, for what a client says is no path.
#[derive(Clone)]
pub(crate) struct Folder {
    path: Arc<Path>,
    last: Arc<AtomicU64>,
    /// Locked as long as this lives, so that no other process writes here.
    _lock: Arc<std::fs::File>,
}

impl Folder {
    /// Takes a folder, which is made if it is not there, without what was left by a process
    /// that was killed. Fails if another process has the folder.
    pub(crate) fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        let lock = std::fs::File::create(path.join("lock"))?;
        lock.try_lock().map_err(|error| {
            let reason = format!("another process has {}: {error}", path.display());
            io::Error::new(io::ErrorKind::ResourceBusy, reason)
        })?;
        let mut last = 0;
        for entry in std::fs::read_dir(&path)? {
            let file = entry?.path();
            let number = file
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            let Some(number) = number else {
                continue; // not of this program
            };
            if file.extension().is_some_and(|it| it == "part") {
                std::fs::remove_file(&file)?;
            }
            last = last.max(number);
        }
        Ok(Self {
            path: path.into(),
            last: Arc::new(AtomicU64::new(last)),
            _lock: Arc::new(lock),
        })
    }

    fn next(&self) -> io::Result<Part> {
        let last = self
            .last
            .fetch_update(Relaxed, Relaxed, |last| last.checked_add(1));
        let last = last.map_err(|_| io::Error::other("no number is left"))?;
        Ok(Part(self.path.join(format!("{}.part", last + 1))))
    }
}

/// A file that is not complete: it is removed when this is dropped, whatever the reason.
struct Part(PathBuf);

impl Part {
    /// Gives it the name that others look for. A link, unlike `rename`, replaces no other file.
    async fn complete(&self) -> io::Result<String> {
        let path = self.0.with_extension("file");
        tokio::fs::hard_link(&self.0, &path).await?; // `drop` removes the other name
        Ok(path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _is_gone = std::fs::remove_file(&self.0);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// `{"size":3000000}`: so many bytes follow, in one binary message or in many.
    Size(u64),
    /// `"cancel"`: no more of them.
    Cancel,
    /// `"ping"`, the heartbeat of a page: it is answered by `"pong"`.
    Ping,
}

/// A file that is coming in.
struct Upload {
    file: File,
    part: Part,
    size: u64,
    received: u64,
    told: u64,
}

impl Upload {
    /// Writes a message as it arrives. What is not yet written is not read either: so the
    /// client is slowed down.
    async fn take(&mut self, mut message: MessageReader<'_>, sender: &Sender) -> Result<(), Error> {
        while let Some(chunk) = message.chunk().await? {
            self.received += chunk.len() as u64;
            if self.received > self.size {
                sender.close((CloseCode::POLICY_VIOLATION, "more than was said"));
                return Ok(());
            }
            self.file.write_all(&chunk).await.map_err(Error::Io)?;
            if self.received - self.told >= STEP {
                self.told = self.received;
                tell(sender, json!({ "received": self.received })).await?;
            }
        }
        Ok(())
    }

    async fn complete(mut self) -> io::Result<String> {
        self.file.flush().await?; // `sync_all`, if it has to survive a power cut
        self.part.complete().await
    }
}

async fn uploads(mut socket: WebSocket, folder: Folder, limit: u64) -> Result<(), Error> {
    let sender = socket.sender();
    let mut current: Option<Upload> = None;
    while let Some(message) = socket.recv_reader().await? {
        match (message.kind(), &mut current) {
            (MessageKind::Text, _) => match order(message).await? {
                Some(Order::Size(size)) => current = begin(size, &folder, limit, &sender).await?,
                Some(Order::Cancel) => current = None,
                Some(Order::Ping) => tell(&sender, json!("pong")).await?,
                None => sender.close((CloseCode::INVALID_PAYLOAD, "no order")),
            },
            (MessageKind::Binary, Some(upload)) => upload.take(message, &sender).await?,
            (MessageKind::Binary, None) => {
                sender.close((CloseCode::POLICY_VIOLATION, "the size comes first"));
            }
        }
        if let Some(whole) = current.take_if(|upload| upload.received == upload.size) {
            let name = whole.complete().await.map_err(Error::Io)?;
            tell(&sender, json!({ "stored": name })).await?;
        }
    }
    Ok(()) // what is not complete is dropped, and so removed
}

async fn order(message: MessageReader<'_>) -> Result<Option<Order>, Error> {
    let mut text = vec![];
    let mut start = message.take(1000);
    start.read_to_end(&mut text).await.map_err(Error::Io)?;
    Ok(serde_json::from_slice(&text).ok())
}

async fn begin(
    size: u64,
    folder: &Folder,
    limit: u64,
    sender: &Sender,
) -> Result<Option<Upload>, Error> {
    if size > limit {
        let refused = format!("more than {limit} bytes");
        tell(sender, json!({ "refused": refused })).await?;
        return Ok(None);
    }
    let part = folder.next().map_err(Error::Io)?;
    let file = File::create_new(&part.0).await.map_err(Error::Io)?;
    tell(sender, json!({ "received": 0 })).await?; // the client may begin
    Ok(Some(Upload {
        file,
        part,
        size,
        received: 0,
        told: 0,
    }))
}

async fn tell(sender: &Sender, what: serde_json::Value) -> Result<(), Error> {
    sender.send(what.to_string()).await
}

pub(crate) fn app(folder: &Folder, limit: u64) -> Router {
    let folder = folder.clone();
    let config = Config::default().streaming(true).max_stream_size(limit);
    let uploads = handler(move |socket| uploads(socket, folder.clone(), limit));
    let layer = WebSocketLayer::new(uploads).config(config);
    Router::new().route("/upload", any(async || "a page").layer(layer))
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let folder = Folder::open("uploads")?;
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("uploads at ws://{}/upload", listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, app(&folder, LIMIT)).await
}
