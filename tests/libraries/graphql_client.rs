//! graphql-ws-client, on the other end of async-graphql.

use futures_util::{SinkExt, StreamExt};
use graphql_ws_client::{Client, Connection, Error, Message, graphql::GraphqlOperation};
use serde::Serialize;
use serde_json::{Value, json};
use tower_websocket::{CloseCode, CloseFrame, Event, session::EventSocket};

use crate::{
    graphql,
    support::{VERSIONS, within},
};

/// What that crate wants of a transport.
struct Transport(EventSocket);

impl Connection for Transport {
    async fn receive(&mut self) -> Option<Message> {
        while let Some(Ok(event)) = self.0.next().await {
            return Some(match event {
                Event::Message(message) => match message.as_text() {
                    Some(text) => Message::Text(text.into()),
                    None => continue,
                },
                Event::Ping(_) => Message::Ping,
                Event::Pong(_) => Message::Pong,
                Event::Close(frame) => Message::Close {
                    code: frame.as_ref().map(|frame| frame.code().into()),
                    reason: frame.map(|frame| frame.reason().into()),
                },
            });
        }
        None
    }

    async fn send(&mut self, message: Message) -> Result<(), Error> {
        let event = match message {
            Message::Text(text) => text.into(),
            Message::Ping => Event::Ping("".into()),
            Message::Pong => Event::Pong("".into()),
            Message::Close { code, reason } => {
                // It asks for 100 where all its clients are gone, which no Close may have.
                let code = code.and_then(CloseCode::new);
                let reason = reason.unwrap_or_default();
                Event::Close(code.map(|code| CloseFrame::new(code, reason)))
            }
        };
        let sent = SinkExt::send(&mut self.0, event).await;
        sent.map_err(|error| Error::Send(error.to_string()))
    }
}

/// A request that is its own text.
#[derive(Serialize)]
struct Request {
    query: &'static str,
}

impl GraphqlOperation for Request {
    type Response = Value;
    type Error = serde_json::Error;

    fn decode(&self, data: Value) -> Result<Value, serde_json::Error> {
        Ok(data)
    }
}

#[tokio::test]
async fn client_subscribes_over_both_versions() {
    let server = graphql::start().await;
    for version in VERSIONS {
        let socket = server.connect(version, &["graphql-transport-ws"]).await;
        let sender = socket.sender();
        let client = Client::build(Transport(socket.into_events()));
        let (client, actor) = within(client.into_future()).await.unwrap();
        let actor = tokio::spawn(actor.into_future());
        for end in [2, 3] {
            let query = match end {
                2 => "subscription { numbers(end: 2) }",
                _ => "subscription { numbers(end: 3) }",
            };
            let numbers = within(client.subscribe(Request { query })).await.unwrap();
            let numbers: Vec<Value> = within(numbers.map(Result::unwrap).collect()).await;
            let wanted = (0..end).map(|number| json!({"data": {"numbers": number}}));
            assert_eq!(numbers, Vec::from_iter(wanted));
        }
        // Not the last one: it would be gone before it is heard.
        within(client.clone().close(4000, "enough")).await;
        within(actor).await.unwrap();
        within(sender.closed()).await;
        let answer = sender.received_close().unwrap();
        assert_eq!(answer.code().as_u16(), 4000);
    }
}
