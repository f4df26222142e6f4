//! yrs and yrs-axum: documents that many write at once, by the protocol of Yjs. Its transports are sinks and streams
//! of `Vec<u8>`, which a `WebSocket` becomes with a word for each direction.

use std::{future::ready, sync::Arc};

use futures_util::{Sink, SinkExt, Stream, TryStreamExt};
use tokio::sync::{Mutex, RwLock, mpsc};
use tower_websocket::{CloseCode, Error, Message, Receiver, Sender, WebSocket};
use yrs::{
    Doc, GetString, ReadTxn, StateVector, Text, Transact,
    sync::{self, Awareness, SyncMessage},
    updates::encoder::Encode,
};
use yrs_axum::{broadcast::BroadcastGroup, conn::Connection};

use crate::support::{Server, VERSIONS, within};

fn sink(sender: Sender) -> impl Sink<Vec<u8>, Error = Error> + Send + Sync + Unpin + 'static {
    sender.with(|bytes: Vec<u8>| ready(Ok(Message::from(bytes))))
}

fn stream(
    receiver: Receiver,
) -> impl Stream<Item = Result<Vec<u8>, Error>> + Send + Sync + Unpin + 'static {
    receiver.map_ok(|message| message.into_bytes().into())
}

/// A server of one document, which is given with it.
async fn start() -> (Server, Arc<BroadcastGroup>) {
    let awareness = Awareness::new(Doc::new());
    let group = BroadcastGroup::new(Arc::new(RwLock::new(awareness)), 32).await;
    let group = Arc::new(group);
    let shared = group.clone();
    let server = Server::start(&[], move |socket: WebSocket| {
        let group = shared.clone();
        async move {
            let (sender, receiver) = socket.split();
            let sink = Arc::new(Mutex::new(sink(sender.clone())));
            let subscription = group.subscribe(sink, stream(receiver));
            if let Err(error) = subscription.completed().await {
                // What was received is none of its messages, where the connection is open.
                sender.close((CloseCode::POLICY_VIOLATION, error.to_string()));
            }
            Ok(())
        }
    })
    .await;
    (server, group)
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
        let doc = Doc::new();
        let (changed, changes) = mpsc::unbounded_channel();
        let observed = doc.observe_update_v1(move |_, _| {
            let _over = changed.send(());
        });
        let awareness = Arc::new(RwLock::new(Awareness::new(doc)));
        let (sender, receiver) = socket.split();
        let other = |error| sync::Error::Other(Box::new(error));
        let sink = sink(sender).sink_map_err(other);
        let stream = stream(receiver).map_err(other);
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
        let awareness = self.awareness.read().await;
        let text = awareness.doc().get_or_insert_text("text");
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
    let (server, group) = start().await;
    let mut writers = Vec::new();
    for version in VERSIONS {
        writers.push(Writer::new(server.connect(version, &[]).await));
    }
    // Written by the one of HTTP/1.1 and read by that of HTTP/2, and the other way round.
    writers[0].write("hello").await;
    writers[1].reads("hello").await;
    writers[1].write(" world").await;
    writers[0].reads("hello world").await;
    assert_eq!(content(group.awareness()).await, "hello world");
    // One that comes later asks for all of it.
    let mut late = Writer::new(server.connect(VERSIONS[0], &[]).await);
    late.reads("hello world").await;
}

#[tokio::test]
async fn what_is_no_update_closes_the_connection() {
    let (server, group) = start().await;
    for version in VERSIONS {
        let mut socket = server.connect(version, &[]).await;
        socket.send(vec![0xff; 3]).await.unwrap();
        while within(socket.recv()).await.unwrap().is_some() {}
        let close = socket.received_close().unwrap();
        assert_eq!(close.code(), CloseCode::POLICY_VIOLATION);
    }
    let awareness = group.awareness().read().await;
    let state = awareness.doc().transact().state_vector();
    assert_eq!(state, StateVector::default());
}
