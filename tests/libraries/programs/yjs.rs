//! For clients that are trusted: see the page.
//!
//! Documents of Yjs that many write at once, each at `ws://127.0.0.1:8080/NAME`.

use std::{
    collections::HashMap,
    future::ready,
    io,
    sync::{Arc, Weak},
};

use axum::{
    BoxError, Router,
    extract::{Path, State},
    response::Response,
    routing::any,
};
use futures_util::{Sink, SinkExt, Stream, TryStreamExt};
use tokio::sync::{Mutex, RwLock};
use tower_websocket::{
    CloseCode, Error, Message, Receiver, Sender, WebSocket, extract::WebSocketUpgrade, serve,
};
use yrs::{
    Doc, ReadTxn, Transact,
    sync::{self, Awareness, SyncMessage},
    updates::encoder::Encode,
};
use yrs_axum::broadcast::BroadcastGroup;

/// The documents that are open: each while a client has it.
#[derive(Clone, Default)]
pub(crate) struct Documents(Arc<Mutex<HashMap<String, Weak<BroadcastGroup>>>>);

impl Documents {
    /// Opens a document, or returns it if it is open.
    pub(crate) async fn open(&self, name: &str) -> Arc<BroadcastGroup> {
        let mut documents = self.0.lock().await;
        if let Some(group) = documents.get(name).and_then(Weak::upgrade) {
            return group;
        }
        documents.retain(|_, group| group.strong_count() > 0);
        // A store would be read here, and written by `Doc::observe_update_v1`.
        let awareness = Awareness::new(Doc::new());
        let group = BroadcastGroup::new(Arc::new(RwLock::new(awareness)), BUFFER).await;
        let group = Arc::new(group);
        documents.insert(name.to_owned(), Arc::downgrade(&group));
        group
    }
}

/// How many updates may wait for a client that does not read; one more ends its subscription.
const BUFFER: usize = 32;

pub(crate) fn app(documents: &Documents) -> Router {
    Router::new()
        .route("/{name}", any(edit))
        .with_state(documents.clone())
}

async fn edit(
    ws: WebSocketUpgrade,
    Path(name): Path<String>,
    State(documents): State<Documents>,
) -> Response {
    ws.on_upgrade(async move |socket: WebSocket| {
        let document = documents.open(&name).await;
        share(&document, socket).await
    })
}

/// Passes the updates of one client on to the others, and theirs to it, until it leaves.
async fn share(document: &BroadcastGroup, socket: WebSocket) -> Result<(), BoxError> {
    // A group answers and asks nothing: what the client wrote while it was away would stay there.
    let (state, present) = {
        let awareness = document.awareness().read().await;
        let state = awareness.doc().transact().state_vector();
        (SyncMessage::SyncStep1(state), awareness.update()?)
    };
    for question in [
        sync::Message::Sync(state),
        sync::Message::Awareness(present),
    ] {
        socket.send(question.encode_v1()).await?;
    }
    let (sender, receiver) = socket.split();
    let sink = Arc::new(Mutex::new(sink(sender.clone())));
    let subscription = document.subscribe(sink, stream(receiver));
    // Closing has no effect if the client has left.
    match subscription.completed().await {
        Ok(()) => sender.close((CloseCode::TRY_AGAIN_LATER, "too many updates behind")),
        Err(error) => sender.close((CloseCode::POLICY_VIOLATION, error.to_string())),
    };
    Ok(())
}

/// What a document sends: each update is one binary message.
pub(crate) fn sink(
    sender: Sender,
) -> impl Sink<Vec<u8>, Error = Error> + Send + Sync + Unpin + 'static {
    sender.with(|bytes: Vec<u8>| ready(Ok(Message::from(bytes))))
}

/// What a client sends.
pub(crate) fn stream(
    receiver: Receiver,
) -> impl Stream<Item = Result<Vec<u8>, Error>> + Send + Sync + Unpin + 'static {
    receiver.map_ok(|message| message.into_bytes().into())
}

#[tokio::main]
async fn main() -> io::Result<()> {
    serve("127.0.0.1:8080", app(&Documents::default())).await?;
    Ok(())
}
