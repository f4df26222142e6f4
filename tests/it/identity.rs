//! What is known of a connection, and what an application keeps with it.

use std::{
    future::ready,
    net::SocketAddr,
    sync::{Arc, Mutex, Weak},
    time::{Duration, SystemTime},
};

use axum::{Router, routing::any};
use http::Request;
use tower::{BoxError, service_fn};
use tower_websocket::{
    CloseCode, Compression, Config, Connections, Error, Groups, Handshake, Sender, WebSocket,
    WebSocketLayer,
    service::{Decision, PeerAddr},
    session::ConnectionInfo,
    testing,
};

use crate::{
    session::support::{SHAPES, hold, hold_compressed, idle, lock},
    support::{self, Http, Log, close, echo, echoes, handler, on_both, open},
};

/// What an application might keep.
#[derive(Debug, Eq, PartialEq)]
struct User(&'static str);

const ADDRESS: &str = "192.0.2.7:4711";

/// A handshake with everything in it.
fn asking(http: Http) -> testing::TestRequest<testing::Empty> {
    let address: SocketAddr = ADDRESS.parse().unwrap();
    http.request("/rooms/the%20lobby?token=secret")
        .header("sec-websocket-protocol", "chat")
        .config(Config::default().compression(Compression::shared()))
        .extension(PeerAddr(address))
}

fn settings() -> Config {
    let config = Config::default().subprotocols(["chat"]);
    config.compression(Compression::shared())
}

/// What is known of a connection for which [`asking`] asked.
fn check(info: &ConnectionInfo, http: Http) {
    assert_eq!(info.peer_addr(), Some(ADDRESS.parse().unwrap()));
    assert_eq!(info.path(), "/rooms/the%20lobby");
    assert_eq!(info.path_params().get("room"), Some("the lobby"));
    assert_eq!(info.version(), http.version());
    assert_eq!(info.subprotocol(), Some("chat"));
    assert!(info.is_compressed());
    let age = SystemTime::now().duration_since(info.connected_at());
    assert!(age.unwrap() < Duration::from_secs(600));
    assert!(!format!("{info:?}").contains("secret"), "{info:?}");
}

#[tokio::test(start_paused = true)]
async fn every_handle_knows_its_connection_and_so_does_the_report() {
    on_both(async |http| {
        let (connections, groups) = (Connections::new(), Groups::<u8>::new());
        let (pen, mut log) = Log::new();
        let rooms = groups.clone();
        let route = handler(move |socket: WebSocket| {
            let membership = rooms.join(1, &socket.sender()).unwrap();
            check(socket.info().unwrap(), http);
            assert!(socket.is_compressed());
            assert_eq!(socket.peer_addr(), Some(ADDRESS.parse().unwrap()));
            let (sender, receiver) = socket.split();
            check(sender.info().unwrap(), http);
            check(receiver.info().unwrap(), http);
            assert!(sender.is_compressed() && receiver.is_compressed());
            assert_eq!(sender.peer_addr(), receiver.peer_addr());
            async move {
                let (_membership, mut receiver) = (membership, receiver);
                while receiver.recv().await?.is_some() {}
                Ok::<_, Error>(())
            }
        });
        let layer = WebSocketLayer::new(route)
            .config(settings())
            .path("/rooms/{room}")
            .connections(&connections)
            .connection_info(true)
            .on_end(move |report| pen.write(report.clone()));
        let connect = testing::connect(layer.endpoint(), asking(http));
        let (_, client) = connect.await.unwrap();
        idle().await;
        let found: Vec<_> = connections.iter().chain(groups.members(&1)).collect();
        assert_eq!(found.len(), 2);
        for sender in &found {
            check(sender.info().unwrap(), http);
        }
        assert!(client.is_compressed());
        close(client).await;
        let report = log.next().await;
        check(report.info().unwrap(), http);
        assert!(report.compressed);
        // A handle that is left still knows it.
        check(found[0].info().unwrap(), http);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_by_default() {
    for shape in SHAPES {
        let (_peer, socket, _reports) = hold(shape, Config::default()).await;
        assert!(socket.info().is_none());
        assert_eq!(socket.peer_addr(), None);
        assert!(!socket.is_compressed());
        assert_eq!(socket.data::<User>(), None);
        let config = Config::default().compression(Compression::shared());
        let (_peer, socket) = hold_compressed(shape, config).await;
        assert!(socket.is_compressed() && socket.info().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_not_made_up() {
    on_both(async |http| {
        let (pen, mut log) = Log::new();
        let route = handler(move |socket: WebSocket| {
            let info = socket.info().unwrap();
            assert_eq!((info.peer_addr(), info.subprotocol()), (None, None));
            assert_eq!(info.path(), "/a%20b");
            assert_eq!(info.path_params().iter().count(), 0);
            assert!(!info.is_compressed());
            pen.write(());
            echo(socket)
        });
        let layer = WebSocketLayer::new(route).connection_info(true);
        let client = open(layer.endpoint(), http, "/a%20b?c").await;
        log.next().await;
        close(client).await;
    })
    .await;
}

/// What the hook changes is what counts.
#[tokio::test(start_paused = true)]
async fn hook_knows_and_corrects_what_is_kept() {
    on_both(async |http| {
        let corrected: SocketAddr = "[2001:db8::1]:1".parse().unwrap();
        let (pen, mut log) = Log::new();
        let route = handler(move |socket: WebSocket| {
            let info = socket.info().unwrap();
            pen.write((info.peer_addr(), info.is_compressed()));
            echo(socket)
        });
        let layer = WebSocketLayer::new(route)
            .config(settings())
            .connection_info(true)
            .on_handshake(move |mut handshake: Handshake| {
                assert_eq!(handshake.peer_addr(), Some(ADDRESS.parse().unwrap()));
                assert!(handshake.is_compressed());
                handshake.decline_compression();
                assert!(!handshake.is_compressed());
                handshake.extensions_mut().insert(PeerAddr(corrected));
                ready(handshake.accept())
            });
        let connect = testing::connect(layer.endpoint(), asking(http));
        let (_, client) = connect.await.unwrap();
        assert_eq!(log.next().await, (Some(corrected), false));
        assert!(!client.is_compressed());
        close(client).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn data_of_hook_and_handler_is_with_every_handle_and_in_the_report() {
    async fn admit(mut handshake: Handshake) -> Decision {
        assert_eq!(handshake.set_data(User("nobody")), None);
        let replaced = handshake.set_data(User("ann"));
        assert_eq!(replaced.as_deref(), Some(&User("nobody")));
        handshake.accept()
    }
    on_both(async |http| {
        for hooked in [true, false] {
            let connections = Connections::new();
            let (pen, mut log) = Log::new();
            let route = handler(move |mut socket: WebSocket| async move {
                assert_eq!(socket.info().is_some(), hooked);
                assert_eq!(socket.data::<User>().is_some(), hooked);
                while let Some(message) = socket.recv().await? {
                    let len = message.len() as u64;
                    let before = socket.set_data(len).map_or(0, |len| *len);
                    socket.send(before.to_string()).await?;
                }
                Ok::<_, Error>(())
            });
            let layer =
                WebSocketLayer::new(route)
                    .connections(&connections)
                    .on_end(move |report| {
                        let user = report.data::<User>();
                        pen.write((user, report.data::<u64>(), report.data::<u8>()));
                    });
            let layer = if hooked {
                layer.on_handshake(admit)
            } else {
                layer
            };
            let mut client = open(layer.endpoint(), http, "/").await;
            for (text, answer) in [("one", "0"), ("three", "3")] {
                client.send(text).await.unwrap();
                assert_eq!(client.recv().await.unwrap(), Some(answer.into()));
            }
            let user = hooked.then(|| Arc::new(User("ann")));
            let sender = connections.iter().next().unwrap();
            assert_eq!(sender.data::<User>(), user);
            assert_eq!(sender.data::<u64>().as_deref(), Some(&5));
            assert_eq!(sender.data::<u8>(), None);
            close(client).await;
            assert_eq!(log.next().await, (user, Some(Arc::new(5)), None));
            assert!(!format!("{sender:?}").contains("ann"));
        }
    })
    .await;
}

/// What an application might keep that leads back to the connection.
struct Circle {
    _sender: Sender,
}

#[tokio::test(start_paused = true)]
async fn data_is_dropped_with_the_session_though_handles_are_left() {
    on_both(async |http| {
        for info in [true, false] {
            let kept: Arc<Mutex<Vec<Weak<Circle>>>> = Arc::default();
            let connections = Connections::new();
            let known = kept.clone();
            let route = handler(move |mut socket: WebSocket| {
                let circle = Circle {
                    _sender: socket.sender(),
                };
                socket.set_data(circle);
                let circle = socket.data::<Circle>().unwrap();
                lock(&known).push(Arc::downgrade(&circle));
                async move {
                    while let Ok(Some(_)) = socket.recv().await {}
                    // The connection is over: as long as this runs, it is there.
                    assert!(socket.data::<Circle>().is_some());
                }
            });
            let layer = WebSocketLayer::new(route)
                .connection_info(info)
                .connections(&connections);
            let client = open(layer.endpoint(), http, "/").await;
            idle().await;
            let sender = connections.iter().next().unwrap();
            assert!(lock(&kept)[0].upgrade().is_some());
            close(client).await;
            idle().await;
            assert!(lock(&kept)[0].upgrade().is_none(), "it is dropped");
            assert!(sender.data::<Circle>().is_none());
            assert_eq!(sender.set_data(User("late")), None);
            assert_eq!(sender.data::<User>(), None, "nothing is kept any more");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn data_of_a_client_is_its_own() {
    let (client, server) = testing::pair(Config::default());
    assert_eq!(client.set_data(User("client")), None);
    assert_eq!(server.data::<User>(), None);
    assert_eq!(
        client.sender().data::<User>().as_deref(),
        Some(&User("client"))
    );
    client.abort();
    client.closed().await;
    idle().await;
    assert_eq!(client.data::<User>(), None);
}

/// A connection that is opened only to be closed tells its report what the hook has kept.
#[tokio::test(start_paused = true)]
async fn connection_that_is_closed_at_once_has_its_data_in_the_report() {
    on_both(async |http| {
        let (pen, mut log) = Log::new();
        let layer = WebSocketLayer::new(handler(echo))
            .on_handshake(|mut handshake: Handshake| {
                handshake.set_data(User("banned"));
                ready(handshake.accept_then_close(CloseCode::POLICY_VIOLATION))
            })
            .on_end(move |report| pen.write(report.data::<User>()));
        let client = open(layer.endpoint(), http, "/").await;
        assert_eq!(log.next().await.as_deref(), Some(&User("banned")));
        drop(client);
    })
    .await;
}

/// Data may be set, replaced and read from any thread.
#[test]
fn handles_with_data_go_to_any_thread() {
    fn any_thread<T: Send + Sync + 'static>() {}
    any_thread::<Sender>();
    any_thread::<ConnectionInfo>();
}

/// An app whose route has a parameter, and the layer no path.
fn nested(pen: support::Pen<(String, Option<String>, Option<SocketAddr>)>) -> Router {
    let route = service_fn(move |request: Request<WebSocket>| {
        let socket = request.into_body();
        let info = socket.info().unwrap();
        let room = info.path_params().get("room").map(str::to_owned);
        pen.write((info.path().to_owned(), room, info.peer_addr()));
        async move { echo(socket).await.map_err(BoxError::from) }
    });
    let layer = WebSocketLayer::new(route).connection_info(true);
    let rooms = Router::new().route("/rooms/{room}", any(async || "a page").layer(layer));
    Router::new().nest("/api", rooms)
}

/// Without the feature `axum` nothing of that is known.
#[tokio::test(start_paused = true)]
async fn path_is_what_is_left_of_it_in_a_nested_router() {
    on_both(async |http| {
        let (pen, mut log) = Log::new();
        let mut client = open(nested(pen), http, "/api/rooms/the%20lobby").await;
        let room = cfg!(feature = "axum").then(|| "the lobby".to_owned());
        assert_eq!(
            log.next().await,
            ("/rooms/the%20lobby".to_owned(), room, None)
        );
        echoes(&mut client, "hi").await;
        close(client).await;
    })
    .await;
}

#[cfg(feature = "axum")]
mod with_axum {
    use axum::extract::{ConnectInfo, connect_info::MockConnectInfo};
    use tower_websocket::extract::WebSocketUpgrade;

    use super::*;
    use crate::{extract::serve, support::http::Ask};

    #[tokio::test]
    async fn address_that_axum_knows_is_the_peers() {
        let (pen, mut log) = Log::new();
        let server = serve(nested(pen)).await;
        on_both(async |http| {
            let ask = Ask::handshake(http, "/api/rooms/lobby");
            let mut peer = ask.send(&server).await.opened(http);
            let (path, room, address) = log.next().await;
            assert_eq!((&*path, room.as_deref()), ("/rooms/lobby", Some("lobby")));
            let address = address.unwrap();
            assert!(address.ip().is_loopback(), "{address}");
            assert!(address.port() != 0 && address != server.address);
            peer.echoes("hi").await;
            peer.close().await;
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_application_says_of_the_address_comes_first() {
        on_both(async |http| {
            let [told, known, mocked] =
                [1, 2, 3].map(|port| SocketAddr::from(([192, 0, 2, 7], port)));
            let request = || http.request("/api/rooms/lobby");
            let requests = [
                (request().extension(MockConnectInfo(mocked)), mocked),
                (
                    request()
                        .extension(MockConnectInfo(mocked))
                        .extension(ConnectInfo(known)),
                    known,
                ),
                (
                    request()
                        .extension(ConnectInfo(known))
                        .extension(PeerAddr(told)),
                    told,
                ),
            ];
            for (request, expected) in requests {
                let (pen, mut log) = Log::new();
                let (_, client) =
                    testing::connect(nested(pen), request.body(axum::body::Body::empty()))
                        .await
                        .unwrap();
                assert_eq!(log.next().await.2, Some(expected));
                close(client).await;
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn extractor_keeps_info_and_data() {
        on_both(async |http| {
            for kept in [true, false] {
                let (pen, mut log) = Log::new();
                let chat = any(async move |ws: WebSocketUpgrade| {
                    let ws = ws.connection_info(kept);
                    let ws = if kept { ws } else { ws.data(User("ann")) };
                    ws.on_upgrade(move |socket: WebSocket| {
                        let info = socket.info().unwrap();
                        let room = info.path_params().get("room").map(str::to_owned);
                        pen.write((room, socket.data::<User>()));
                        echo(socket)
                    })
                });
                let app = Router::new().route("/rooms/{room}", chat);
                let client = open(app, http, "/rooms/lobby").await;
                let (room, user) = log.next().await;
                assert_eq!(room.as_deref(), Some("lobby"));
                assert_eq!(user.is_none(), kept);
                close(client).await;
            }
        })
        .await;
    }
}

#[cfg(feature = "client")]
mod of_a_client {
    use tokio::net::TcpStream;
    use tower_websocket::{
        client::{Client, HttpVersion},
        endpoint,
    };

    use super::*;
    use crate::support::http::Server;

    #[tokio::test]
    async fn client_knows_where_it_is_connected_to() {
        let server = Server::start(endpoint(handler(echo))).await;
        let uri = format!("ws://{}/chat?token=secret", server.address);
        on_both(async |http| {
            let version = http.pick(HttpVersion::Http1, HttpVersion::Http2);
            let client = Client::new().http_version(version);
            let kept = client.clone().connection_info(true);
            let socket = kept.connect(&uri).await.unwrap();
            let info = socket.info().unwrap();
            assert_eq!(info.peer_addr(), Some(server.address));
            assert_eq!((info.path(), info.version()), ("/chat", http.version()));
            close(socket).await;
            // Over a stream of one's own nothing is known of the other end.
            let stream = TcpStream::connect(server.address).await.unwrap();
            let socket = kept.connect_over(stream, &uri).await.unwrap();
            assert_eq!(socket.peer_addr(), None);
            assert_eq!(socket.info().unwrap().path(), "/chat");
            close(socket).await;
            let socket = client.connect(&uri).await.unwrap();
            assert!(socket.info().is_none());
            close(socket).await;
        })
        .await;
        let client = Client::new().connection_info(true);
        let connection = client.connect_http2(&uri).await.unwrap();
        let socket = connection.connect("/news").await.unwrap();
        assert_eq!(socket.info().unwrap().path(), "/news");
        assert_eq!(socket.peer_addr(), Some(server.address));
        close(socket).await;
    }
}

#[cfg(feature = "serve")]
#[tokio::test]
async fn server_of_ours_tells_the_address_over_both_versions() {
    use crate::support::http::{Ask, Server};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (pen, mut log) = Log::new();
    let app = nested(pen);
    let serving = async {
        tower_websocket::serve(listener, app)
            .await
            .map(drop)
            .unwrap()
    };
    let server = Server::other(address, serving);
    on_both(async |http| {
        let ask = Ask::handshake(http, "/api/rooms/lobby");
        let mut peer = ask.send(&server).await.opened(http);
        assert!(log.next().await.2.unwrap().ip().is_loopback());
        peer.echoes("hi").await;
        peer.close().await;
    })
    .await;
}
