//! The span of a connection: what it says, and what happens in it.

use std::{
    collections::BTreeMap,
    fmt,
    future::pending,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use futures_util::FutureExt;
use http::Request;
use tower::service_fn;
use tower_websocket::{
    CloseCode, Config, Connections, Handshake, WebSocket, WebSocketLayer, service::PeerAddr,
};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::{
    crowd::OnDrop,
    session::support::{idle, lock},
    support::{close, echo, handler, on_both, open},
};

/// The fields of a span or an event, as text.
type Fields = BTreeMap<&'static str, String>;

struct Visitor<'a>(&'a mut Fields);

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

/// Remembers the spans of connections, and in which of them an event happened.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    spans: Vec<(&'static str, Fields)>,
    entered: Vec<u64>,
    /// The message, and the span.
    events: Vec<(String, Option<u64>)>,
    closed: usize,
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        target.starts_with("tower_websocket") || target.starts_with("it")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::new();
        span.record(&mut Visitor(&mut fields));
        let mut record = lock(&self.0);
        record.spans.push((span.metadata().name(), fields));
        Id::from_u64(record.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut record = lock(&self.0);
        let (_, fields) = &mut record.spans[span.into_u64() as usize - 1];
        values.record(&mut Visitor(fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Visitor(&mut fields));
        let mut record = lock(&self.0);
        let span = record.entered.last().copied();
        let message = fields.remove("message").unwrap_or_default();
        record.events.push((message, span));
    }

    fn enter(&self, span: &Id) {
        lock(&self.0).entered.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        assert_eq!(lock(&self.0).entered.pop(), Some(span.into_u64()));
    }

    fn try_close(&self, _: Id) -> bool {
        lock(&self.0).closed += 1;
        true
    }
}

impl Recorder {
    /// In which span a message was.
    fn span_of(&self, message: &str) -> Option<u64> {
        let record = lock(&self.0);
        let mut events = record.events.iter();
        let event = events.find(|(seen, _)| seen == message);
        event.unwrap_or_else(|| panic!("no {message:?}")).1
    }

    fn fields(&self, span: u64) -> Fields {
        let record = lock(&self.0);
        let (name, fields) = &record.spans[span as usize - 1];
        assert_eq!(*name, "websocket");
        fields.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn span_has_the_fields_that_one_searches_by() {
    on_both(async |http| {
        let recorder = Recorder::default();
        let _default = tracing::subscriber::set_default(recorder.clone());
        let connections = Connections::new();
        let address: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        let config = Config::default().subprotocols(["chat"]);
        let layer = WebSocketLayer::new(handler(echo))
            .config(config)
            .connections(&connections)
            .on_handshake(move |mut handshake: Handshake| {
                handshake.extensions_mut().insert(PeerAddr(address));
                std::future::ready(handshake.accept())
            });
        let request = http.request("/rooms/lobby?x=1");
        let request = request.header("sec-websocket-protocol", "chat");
        let connect = tower_websocket::testing::connect(layer.endpoint(), request);
        let (_, mut client) = connect.await.unwrap();
        idle().await;
        let id = connections.iter().next().unwrap().id().unwrap();
        let mut expected = Fields::from([
            ("id", id.to_string()),
            ("peer", address.to_string()),
            ("path", "\"/rooms/lobby\"".to_owned()),
            ("http", http.pick("HTTP/1.1", "HTTP/2.0").to_owned()),
            ("protocol", "\"chat\"".to_owned()),
        ]);
        let span = lock(&recorder.0).spans.len() as u64;
        assert_eq!(recorder.fields(span), expected);
        client.close(CloseCode::new(4002).unwrap());
        while client.recv().await.unwrap().is_some() {}
        client.closed().await;
        drop(client);
        idle().await;
        expected.insert("close_code", "4002".to_owned());
        assert_eq!(recorder.fields(span), expected);
        // The client's end has no span.
        let ended = ("websocket session ended".to_owned(), Some(span));
        assert!(lock(&recorder.0).events.contains(&ended));
        assert!(lock(&recorder.0).entered.is_empty());
        assert!(connections.is_empty());
        assert!(lock(&recorder.0).closed > 0, "the span is closed");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn span_says_nothing_of_what_is_not_known() {
    let recorder = Recorder::default();
    let _default = tracing::subscriber::set_default(recorder.clone());
    let layer = WebSocketLayer::new(handler(echo));
    let client = open(layer.endpoint(), crate::support::Http::One, "/").await;
    idle().await;
    let expected = Fields::from([
        ("http", "HTTP/1.1".to_owned()),
        ("path", "\"/\"".to_owned()),
    ]);
    assert_eq!(recorder.fields(1), expected);
    close(client).await;
}

/// A switch that was forgotten is told once, and not for every message.
#[tokio::test(start_paused = true)]
async fn who_asks_for_an_info_that_is_not_kept_is_warned_once() {
    let recorder = Recorder::default();
    let _default = tracing::subscriber::set_default(recorder.clone());
    let warnings = || {
        let record = lock(&recorder.0);
        let warnings = record.events.iter();
        warnings
            .filter(|(seen, _)| seen.contains("WebSocketLayer::connection_info"))
            .count()
    };
    for keeps in [true, false] {
        let asking = handler(move |socket: WebSocket| async move {
            assert_eq!(socket.peer_addr(), None);
            assert_eq!(socket.info().is_some(), keeps);
            echo(socket).await
        });
        let layer = WebSocketLayer::new(asking).connection_info(keeps);
        for _ in 0..3 {
            close(open(layer.clone().endpoint(), crate::support::Http::One, "/").await).await;
        }
        assert_eq!(warnings(), usize::from(!keeps));
    }
}

/// As under `into_make_service_with_connect_info`.
#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn span_has_the_address_that_axum_knows() {
    use axum::extract::ConnectInfo;

    on_both(async |http| {
        let recorder = Recorder::default();
        let _default = tracing::subscriber::set_default(recorder.clone());
        let address: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        let request = http.request("/").extension(ConnectInfo(address));
        let layer = WebSocketLayer::new(handler(echo));
        let connect = tower_websocket::testing::connect(layer.endpoint(), request);
        let (_, client) = connect.await.unwrap();
        idle().await;
        assert_eq!(recorder.fields(1).get("peer"), Some(&address.to_string()));
        close(client).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn everything_a_handler_does_is_in_the_span() {
    for aborts in [false, true] {
        on_both(async |http| {
            let recorder = Recorder::default();
            let _default = tracing::subscriber::set_default(recorder.clone());
            let connections = Connections::new();
            let route = service_fn(move |request: Request<WebSocket>| {
                tracing::info!("called");
                let mut socket = request.into_body();
                let guard = OnDrop(|| tracing::info!("dropped"));
                async move {
                    let _guard = guard;
                    tracing::info!("polled");
                    while let Ok(Some(_)) = socket.recv().await {
                        tracing::info!("received");
                    }
                    if aborts {
                        pending::<()>().await;
                    }
                    Ok::<(), std::convert::Infallible>(())
                }
            });
            let layer = WebSocketLayer::new(route).connections(&connections);
            let client = open(layer.endpoint(), http, "/").await;
            client.send("hi").await.unwrap();
            idle().await;
            close(client).await;
            let sessions = connections.drain(tower_websocket::session::Drain::default());
            assert!(sessions.now_or_never().is_some() != aborts);
            idle().await;
            if aborts {
                let now =
                    tower_websocket::session::Drain::default().timeout(std::time::Duration::ZERO);
                assert_eq!(connections.drain(now).await.aborted, 1);
            }
            let span = recorder.span_of("called");
            assert_eq!(span, Some(1));
            for message in ["polled", "received", "dropped"] {
                assert_eq!(recorder.span_of(message), span, "{message}");
            }
            assert!(lock(&recorder.0).entered.is_empty());
        })
        .await;
    }
}
