//! yrs and yrs-axum: documents that many write at once, by the protocol of Yjs. Its transports are sinks and streams
//! of `Vec<u8>`, which a `WebSocket` becomes with a word for each direction.

#[path = "programs/yjs.rs"]
#[expect(dead_code, reason = "its `main` is for those who run it")]
mod program;

use std::sync::Arc;

use futures_util::{SinkExt, TryStreamExt};
use tokio::sync::{RwLock, mpsc};
use tower_websocket::{CloseCode, Config, Message, WebSocket, client::HttpVersion};
use yrs::{
    Doc, GetString, ReadTxn, StateVector, Text, Transact,
    sync::{self, Awareness, SyncMessage},
    updates::encoder::Encode,
};
use yrs_axum::conn::Connection;

use crate::support::{Server, VERSIONS, within};

/// A server, with its documents.
async fn start() -> (Server, program::Documents) {
    let documents = program::Documents::default();
    let server = Server::serve(program::app(&documents)).await;
    (server, documents)
}

async fn connect(server: &Server, document: &str, version: HttpVersion) -> WebSocket {
    server
        .connect_to(document, version, Config::default())
        .await
}

/// One who writes the document.
struct Writer {
    awareness: Arc<RwLock<Awareness>>,
    changes: mpsc::UnboundedReceiver<()>,
    _observed: yrs::Subscription,
    /// Sends to the server what is given to it.
    updates: mpsc::UnboundedSender<Vec<u8>>,
}

impl Writer {
    fn new(socket: WebSocket) -> Self {
        Self::with(Doc::new(), socket)
    }

    fn with(doc: Doc, socket: WebSocket) -> Self {
        let (changed, changes) = mpsc::unbounded_channel();
        let observed = doc.observe_update_v1(move |_, _| {
            let _over = changed.send(());
        });
        let awareness = Arc::new(RwLock::new(Awareness::new(doc)));
        let (sender, receiver) = socket.split();
        let other = |error| sync::Error::Other(Box::new(error));
        let sink = program::sink(sender).sink_map_err(other);
        let stream = program::stream(receiver).map_err(other);
        let connection = Connection::new(awareness.clone(), sink, stream);
        let (updates, mut queue) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(update) = queue.recv().await {
                connection.send(update).await.unwrap();
            }
        });
        Self {
            awareness,
            changes,
            _observed: observed.unwrap(),
            updates,
        }
    }

    async fn write(&self, words: &str) {
        self.write_to("text", words).await;
    }

    async fn write_to(&self, name: &str, words: &str) {
        let awareness = self.awareness.read().await;
        let text = awareness.doc().get_or_insert_text(name);
        let mut transaction = awareness.doc().transact_mut();
        let before = transaction.state_vector();
        text.push(&mut transaction, words);
        let update = transaction.encode_diff_v1(&before);
        let message = sync::Message::Sync(SyncMessage::Update(update));
        self.updates.send(message.encode_v1()).unwrap();
    }

    /// Waits until the document reads so.
    async fn reads(&mut self, words: &str) {
        while content(&self.awareness).await != words {
            within(self.changes.recv()).await.unwrap();
        }
    }
}

async fn content(awareness: &RwLock<Awareness>) -> String {
    let awareness = awareness.read().await;
    let text = awareness.doc().get_or_insert_text("text");
    text.get_string(&awareness.doc().transact())
}

#[tokio::test]
async fn what_one_writes_all_read() {
    let (server, documents) = start().await;
    let document = documents.open("a").await;
    let mut writers = Vec::new();
    for version in VERSIONS {
        writers.push(Writer::new(connect(&server, "a", version).await));
    }
    // Written by the one of HTTP/1.1 and read by that of HTTP/2, and the other way round.
    writers[0].write("hello").await;
    writers[1].reads("hello").await;
    writers[1].write(" world").await;
    writers[0].reads("hello world").await;
    assert_eq!(content(document.awareness()).await, "hello world");
    // One that comes later asks for all of it.
    let mut late = Writer::new(connect(&server, "a", VERSIONS[0]).await);
    late.reads("hello world").await;
    // Another document has nothing of it.
    let other = documents.open("b").await;
    assert_eq!(content(other.awareness()).await, "");
}

#[tokio::test]
async fn what_was_written_before_connecting_all_read() {
    let (server, _documents) = start().await;
    let doc = Doc::new();
    let text = doc.get_or_insert_text("text");
    text.push(&mut doc.transact_mut(), "hello");
    let _writer = Writer::with(doc, connect(&server, "a", VERSIONS[0]).await);
    let mut reader = Writer::new(connect(&server, "a", VERSIONS[1]).await);
    reader.reads("hello").await;
}

#[tokio::test]
async fn what_is_no_update_closes_the_connection() {
    let (server, documents) = start().await;
    let document = documents.open("a").await;
    for version in VERSIONS {
        let mut socket = connect(&server, "a", version).await;
        socket.send(vec![0xff; 3]).await.unwrap();
        while within(socket.recv()).await.unwrap().is_some() {}
        let close = socket.received_close().unwrap();
        assert_eq!(close.code(), CloseCode::POLICY_VIOLATION);
    }
    let awareness = document.awareness().read().await;
    let state = awareness.doc().transact().state_vector();
    assert_eq!(state, StateVector::default());
}

#[tokio::test]
async fn client_that_falls_behind_is_closed_and_the_others_go_on() {
    let (server, _documents) = start().await;
    let mut slow = connect(&server, "a", VERSIONS[0]).await;
    let mut reader = Writer::new(connect(&server, "a", VERSIONS[0]).await);
    let writer = Writer::new(connect(&server, "a", VERSIONS[0]).await);
    // More than the kernel, the queue and the subscription keep together for one that does not read.
    let words = "x".repeat(64 << 10);
    for number in 0..300 {
        writer.write_to(&format!("text{number}"), &words).await;
        within(reader.changes.recv()).await.unwrap();
    }
    let mut updates = 0;
    while let Some(message) = within(slow.recv()).await.unwrap() {
        updates += usize::from(matches!(message, Message::Binary(_)));
    }
    assert!((1..300).contains(&updates), "{updates}");
    let close = slow.received_close().unwrap();
    assert_eq!(close.code(), CloseCode::TRY_AGAIN_LATER);
}
