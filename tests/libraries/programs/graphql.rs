//! GraphQL over WebSocket, with subscriptions, at `ws://127.0.0.1:8080/`.

use std::{future::ready, io};

use async_graphql::{
    EmptyMutation, Object, Schema, Subscription,
    http::{ALL_WEBSOCKET_PROTOCOLS, WebSocket as GraphqlSocket, WsMessage},
};
use futures_util::{Stream, StreamExt, stream};
use tower_websocket::{
    CloseCode, CloseFrame, Config, Error, Event, WebSocket, WebSocketLayer, handler, serve,
    session::EventStream,
};

pub(crate) type Api = Schema<Query, EmptyMutation, Numbers>;

pub(crate) struct Query;

#[Object]
impl Query {
    async fn answer(&self) -> i32 {
        42
    }
}

pub(crate) struct Numbers;

#[Subscription]
impl Numbers {
    /// The numbers below `end`, or all of them.
    async fn numbers(&self, end: Option<i32>) -> impl Stream<Item = i32> {
        stream::iter(0..end.unwrap_or(i32::MAX))
    }
}

pub(crate) fn schema() -> Api {
    Schema::build(Query, EmptyMutation, Numbers)
        .limit_depth(8)
        .limit_complexity(200)
        .finish()
}

/// Answers the requests of one connection until the client leaves.
pub(crate) async fn graphql(schema: Api, socket: WebSocket) -> Result<(), Error> {
    let Some(protocol) = socket.subprotocol().and_then(|name| name.parse().ok()) else {
        socket.close((NO_SUBPROTOCOL, "no subprotocol"));
        return Ok(());
    };
    let (sink, stream) = socket.into_events().split();
    GraphqlSocket::new(schema, messages(stream), protocol)
        .map(|message| Ok(event(message)))
        .forward(sink)
        .await
}

/// The messages of a connection, until it ends in any way.
fn messages(stream: EventStream) -> impl Stream<Item: AsRef<[u8]>> + Unpin {
    stream.filter_map(|event| ready(event.ok().and_then(Event::into_message)))
}

fn event(message: WsMessage) -> Event {
    match message {
        WsMessage::Text(text) => text.into(),
        WsMessage::Close(code, reason) => {
            let code = CloseCode::new(code);
            Event::Close(code.map(|code| CloseFrame::new(code, reason)))
        }
    }
}

/// The code of graphql-transport-ws for a client that offers no subprotocol known here.
pub(crate) const NO_SUBPROTOCOL: CloseCode = CloseCode::new(4406).unwrap();

#[tokio::main]
async fn main() -> io::Result<()> {
    let schema = schema();
    let route = handler(move |socket| graphql(schema.clone(), socket));
    let config = Config::default().subprotocols(ALL_WEBSOCKET_PROTOCOLS);
    let app = WebSocketLayer::new(route).config(config).endpoint();
    serve("127.0.0.1:8080", app).await?;
    Ok(())
}
