//! Callbacks for sockets that no layer has: those of clients.

use http::Request;
use tokio::{sync::mpsc, task::JoinHandle};
use tower_websocket::{
    CloseCode, Error, Sender, WebSocket, WebSocketLayer, service::handle_events,
};

use super::Notes;
use crate::{
    session::support::{idle, within},
    support::{Http, handler, on_both, open},
};

/// A client's socket, and the server's.
async fn pair(http: Http) -> (WebSocket, WebSocket) {
    let (sender, mut sockets) = mpsc::unbounded_channel();
    let route = handler(move |socket| {
        let _gone = sender.send(socket);
        std::future::ready(())
    });
    let client = open(WebSocketLayer::new(route).endpoint(), http, "/").await;
    (client, within(sockets.recv()).await.unwrap())
}

/// A client whose callbacks run in a task, and the server's socket.
async fn called_back(http: Http, notes: &Notes) -> (JoinHandle<()>, Sender, WebSocket) {
    let (client, server) = pair(http).await;
    let sender = client.sender();
    let task = tokio::spawn(handle_events(Request::new(client), notes.told()));
    idle().await;
    (task, sender, server)
}

/// What the server receives as the client's Close.
async fn code(mut server: WebSocket) -> Option<u16> {
    while within(server.recv()).await.unwrap().is_some() {}
    server.received_close().map(|frame| frame.code().as_u16())
}

/// Ends a connection at the client or the server, and gives what the client notes of that.
type Ending = (
    &'static str,
    fn(&Sender, &WebSocket),
    &'static [&'static str],
);

#[tokio::test(start_paused = true)]
async fn client_s_callbacks_end_once() {
    let endings: [Ending; 5] = [
        (
            "the server closes",
            |_, server| server.close(CloseCode::GOING_AWAY),
            &["on_close 1001"],
        ),
        (
            "the client closes",
            |client, _| client.close(CloseCode::NORMAL),
            &["on_close 1000"],
        ),
        (
            "the server vanishes",
            |_, server| server.abort(),
            &["on_error io"],
        ),
        (
            "the client aborts",
            |client, _| client.abort(),
            &["on_error io"],
        ),
        (
            "the server asks",
            |_, server| server.ping("").unwrap(),
            &["ping", "on_close 1000"],
        ),
    ];
    on_both(async |http| {
        for (name, end, expected) in endings {
            let notes = Notes::default();
            let (task, client, server) = called_back(http, &notes).await;
            server.send("a").await.unwrap();
            idle().await;
            end(&client, &server);
            idle().await;
            drop(server);
            within(task).await.unwrap();
            let all = [&["open", "a"], expected, &["end"]].concat();
            assert_eq!(notes.lines(), all, "{name}");
            assert_eq!(notes.alive(), 0, "{name}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_client_s_callback_is_the_caller_s_and_closes_with_1011() {
    on_both(async |http| {
        let notes = Notes::default();
        let (task, _, server) = called_back(http, &notes).await;
        server.send("panic at the end").await.unwrap();
        server.send("panic").await.unwrap();
        assert!(within(task).await.unwrap_err().is_panic());
        assert_eq!(notes.lines(), ["open", "panic at the end", "end"]);
        assert_eq!(code(server).await, Some(1011));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn callbacks_that_are_dropped_close_with_1000_and_are_told_of_the_end() {
    on_both(async |http| {
        let notes = Notes::default();
        let (task, _, server) = called_back(http, &notes).await;
        server.send("sleep").await.unwrap();
        idle().await;
        task.abort();
        assert!(within(task).await.unwrap_err().is_cancelled());
        assert_eq!(notes.lines(), ["open", "end"]);
        assert_eq!(code(server).await, Some(1000));

        // Never polled.
        let notes = Notes::default();
        let (client, server) = pair(http).await;
        drop(handle_events(Request::new(client), notes.told()));
        assert_eq!(notes.lines(), ["end"]);
        assert_eq!(notes.alive(), 0);
        assert_eq!(code(server).await, Some(1000));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn route_service_goes_on_after_it_dropped_its_callbacks() {
    on_both(async |http| {
        let notes = Notes::default();
        let told = notes.clone();
        let route = tower::service_fn(move |request: Request<WebSocket>| {
            let notes = told.clone();
            async move {
                let sender = request.body().sender();
                tokio::select! {
                    () = handle_events(request, notes.told()) => {}
                    () = idle() => {}
                }
                assert!(!sender.is_open(), "the callbacks had the socket");
                sender.closed().await;
                notes.write("returned");
                Ok::<_, Error>(())
            }
        });
        let client = open(WebSocketLayer::new(route).endpoint(), http, "/").await;
        assert_eq!(code(client).await, Some(1000));
        idle().await;
        assert_eq!(notes.lines(), ["open", "end", "returned"]);
    })
    .await;
}

#[cfg(feature = "client")]
#[tokio::test]
async fn client_on_a_real_connection_is_called_back() {
    use tower_websocket::client::{Client, HttpVersion};

    use crate::support::{echo, http::Server};

    on_both(async |http| {
        let layer = WebSocketLayer::new(handler(echo));
        let server = Server::start(layer.endpoint()).await;
        let version = http.pick(HttpVersion::Http1, HttpVersion::Http2);
        let client = Client::new().http_version(version);
        let uri = format!("ws://{}/", server.address);
        let socket = client.connect(uri).await.unwrap();
        socket.send("a").await.unwrap();
        socket.send("close").await.unwrap();
        let notes = Notes::default();
        within(handle_events(Request::new(socket), notes.told())).await;
        let all = ["open", "a", "close", "on_close 1000", "end"];
        assert_eq!(notes.lines(), all);
    })
    .await;
}
