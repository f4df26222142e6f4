//! Where the layer can be mounted, and what each mount does with which request.

use std::convert::Infallible;

use axum::{
    Router,
    routing::{any, get},
};
use http::{Request, Response, StatusCode};
use tower::{ServiceBuilder, service_fn};
use tower_websocket::{
    Error, WebSocket, WebSocketLayer, endpoint,
    service::PathParams,
    testing::{self, Empty},
};

use crate::support::{
    Http, close, echo, echoes, handler,
    http::{Ask, Server},
    on_both, oneshot, open, refused,
};

/// A way to mount an echo at `/chat`, and what it makes of requests.
struct Mount {
    name: &'static str,
    app: Router,
    /// The status for a handshake on HTTP/2, where it is not accepted.
    http2: Option<StatusCode>,
    /// The status of a plain request, over HTTP/1.1 and HTTP/2.
    plain: [StatusCode; 2],
    /// A handshake for another path is accepted too.
    catches_all: bool,
}

const OK: [StatusCode; 2] = [StatusCode::OK; 2];

fn mounts() -> Vec<Mount> {
    let layer = || WebSocketLayer::new(handler(echo));
    let page = || async { "page" };
    let mount = |name, app| Mount {
        name,
        app,
        http2: None,
        plain: OK,
        catches_all: false,
    };
    let chat = |method_router| Router::new().route("/chat", method_router);
    vec![
        mount("any(h).layer(l)", chat(any(page).layer(layer()))),
        mount("get(h).layer(l)", chat(get(page).layer(layer()))),
        Mount {
            plain: [StatusCode::UPGRADE_REQUIRED, StatusCode::BAD_REQUEST],
            ..mount(
                "route_service(endpoint)",
                Router::new().route_service("/chat", endpoint(handler(echo))),
            )
        },
        Mount {
            catches_all: true,
            ..mount("Router::layer(l)", chat(get(page)).layer(layer()))
        },
        mount(
            "Router::layer(l.path())",
            chat(get(page)).layer(layer().path("/chat")),
        ),
        mount(
            "Router::layer(l.when())",
            chat(get(page)).layer(layer().when(|head| head.uri.path() == "/chat")),
        ),
        Mount {
            http2: Some(StatusCode::METHOD_NOT_ALLOWED),
            ..mount(
                "get(h).route_layer(l)",
                chat(get(page).route_layer(layer())),
            )
        },
    ]
}

/// What a handshake for a path of a mount is answered with.
fn expected(mount: &Mount, http: Http, path: &str) -> StatusCode {
    match (path, mount.http2) {
        ("/chat", Some(refused)) if http == Http::Two => refused,
        ("/chat", _) => http.accepted(),
        _ if mount.catches_all => http.accepted(),
        _ => StatusCode::NOT_FOUND,
    }
}

#[tokio::test(start_paused = true)]
async fn mounts_keep_to_their_table_in_memory() {
    on_both(async |http| {
        for mount in mounts() {
            let (name, app) = (mount.name, &mount.app);
            for path in ["/chat", "/elsewhere"] {
                let status = match testing::connect(app.clone(), http.request(path)).await {
                    Ok((response, mut client)) => {
                        echoes(&mut client, name).await;
                        close(client).await;
                        response.status()
                    }
                    Err(error) => error.status().unwrap(),
                };
                assert_eq!(status, expected(&mount, http, path), "{name} {path}");
            }
            let plain = oneshot(app.clone(), http.plain("/chat")).await;
            assert_eq!(
                plain.status(),
                http.pick(mount.plain[0], mount.plain[1]),
                "{name}"
            );
            let unmatched = oneshot(app.clone(), http.plain("/elsewhere")).await;
            assert_eq!(unmatched.status(), StatusCode::NOT_FOUND, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn mounts_keep_to_their_table_over_real_connections() {
    on_both(async |http| {
        for mount in mounts() {
            let name = mount.name;
            let server = Server::start(mount.app.clone()).await;
            for path in ["/chat", "/elsewhere"] {
                let answer = Ask::handshake(http, path).send(&server).await;
                assert_eq!(answer.status, expected(&mount, http, path), "{name} {path}");
                if answer.status == http.accepted() {
                    let mut peer = answer.opened(http);
                    peer.echoes(name).await;
                    peer.close().await;
                }
            }
            let plain = Ask::plain(http, "/chat").send(&server).await;
            assert_eq!(
                plain.status,
                http.pick(mount.plain[0], mount.plain[1]),
                "{name}"
            );
            if plain.status == StatusCode::OK {
                assert_eq!(plain.text(), "page");
            }
            let unmatched = Ask::plain(http, "/elsewhere").send(&server).await;
            assert_eq!(unmatched.status, StatusCode::NOT_FOUND, "{name}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn whole_conversation_runs_in_memory_through_an_axum_router() {
    let layer = WebSocketLayer::new(handler(echo));
    let app = Router::new().route("/echo", any(async || "page").layer(layer));
    on_both(async |http| {
        let mut client = open(app.clone(), http, "/echo").await;
        for text in ["one", "two", ""] {
            echoes(&mut client, text).await;
        }
        close(client).await;
    })
    .await;
}

async fn page(_: Request<Empty>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("page".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn whole_conversation_runs_in_memory_through_bare_tower() {
    let service = ServiceBuilder::new()
        .layer(WebSocketLayer::new(handler(echo)).path("/echo"))
        .service(service_fn(page));
    on_both(async |http| {
        let mut client = open(service.clone(), http, "/echo").await;
        echoes(&mut client, "hi").await;
        close(client).await;
        let response = oneshot(service.clone(), http.plain("/echo")).await;
        assert_eq!(response.body(), "page");
    })
    .await;
}

/// Says who it is, and where it was opened.
async fn introduce(request: Request<WebSocket>) -> Result<(), Error> {
    let params = request.extensions().get::<PathParams>().cloned();
    let params = params.unwrap_or_default();
    let params: Vec<_> = params.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let text = format!("{} {}", request.uri().path(), params.join(" "));
    request.into_body().send(text).await
}

/// Those of a route of axum's are there as those of the layer's own path are.
#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn parameters_of_a_route_of_axum_reach_the_route_service() {
    let layer = WebSocketLayer::new(service_fn(introduce));
    let named = any(async || "a page").layer(layer.clone().path("/rooms/{name}/{*rest}"));
    let app: Router = Router::new()
        .route("/rooms/{room}", any(async || "a page").layer(layer.clone()))
        .route("/rooms/{room}/chat", named)
        .route("/lobby", any(async || "a page").layer(layer));
    on_both(async |http| {
        for (path, expected) in [
            ("/rooms/the%20lobby", "/rooms/the%20lobby room=the lobby"),
            ("/rooms/a/chat", "/rooms/a/chat name=a rest=chat"),
            ("/lobby", "/lobby "),
        ] {
            let mut client = open(app.clone(), http, path).await;
            assert_eq!(client.recv().await.unwrap(), Some(expected.into()));
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn parameters_of_a_path_reach_the_route_service() {
    let layer = WebSocketLayer::new(service_fn(introduce))
        .path("/rooms/{room}")
        .path("/files/{*file}");
    let service = ServiceBuilder::new().layer(layer).service(service_fn(page));
    on_both(async |http| {
        let table = [
            ("/rooms/tea", "/rooms/tea room=tea"),
            ("/rooms/a%2Fb%20c", "/rooms/a%2Fb%20c room=a/b c"),
            ("/files/a/b", "/files/a/b file=a/b"),
        ];
        for (path, text) in table {
            let mut client = open(service.clone(), http, path).await;
            assert_eq!(client.recv().await.unwrap(), Some(text.into()));
        }
        for path in ["/rooms", "/rooms/", "/rooms/a/b", "/rooms/%ff", "/files/"] {
            let response = oneshot(service.clone(), http.request(path).into_request()).await;
            assert_eq!(response.body(), "page", "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn two_routes_of_one_app_have_handlers_of_their_own() {
    let shout = |mut socket: WebSocket| async move {
        while let Ok(Some(message)) = socket.recv().await {
            let text = message.as_text().unwrap_or_default().to_uppercase();
            let _gone = socket.send(text).await;
        }
    };
    let app = Router::new()
        .route(
            "/echo",
            any(async || "echo").layer(WebSocketLayer::new(handler(echo))),
        )
        .route_service("/shout", endpoint(handler(shout)));
    let server = Server::start(app).await;
    on_both(async |http| {
        let mut echo = Ask::handshake(http, "/echo")
            .send(&server)
            .await
            .opened(http);
        let mut shout = Ask::handshake(http, "/shout")
            .send(&server)
            .await
            .opened(http);
        echo.echoes("hi").await;
        shout.send(0x1, b"hi").await;
        assert_eq!(shout.frame().await, Some((0x1, "HI".into())));
        echo.close().await;
        shout.close().await;
    })
    .await;
}

#[tokio::test]
async fn nested_routers_accept_at_their_place_only() {
    let layer = || WebSocketLayer::new(handler(echo));
    let rooms = Router::new()
        .route("/chat", any(async || "page").layer(layer()))
        .layer(layer().path("/inner"));
    let app = Router::new()
        .nest("/api", rooms)
        .nest_service("/all", endpoint(handler(echo)));
    let server = Server::start(app).await;
    on_both(async |http| {
        for path in ["/api/chat", "/all", "/all/of/it"] {
            let mut peer = Ask::handshake(http, path).send(&server).await.opened(http);
            peer.echoes(path).await;
            peer.close().await;
        }
        for path in ["/chat", "/api", "/inner"] {
            let answer = Ask::handshake(http, path).send(&server).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn proxies_may_spell_the_handshake_in_their_way() {
    let server = Server::start(Router::new().route_service("/", endpoint(handler(echo)))).await;
    let one = || Ask::handshake(Http::One, "/");
    let two = || Ask::handshake(Http::Two, "/");
    let table = [
        one()
            .without("connection")
            .header("connection", "keep-alive, UPGRADE"),
        one()
            .without("connection")
            .header("connection", "keep-alive")
            .header("connection", "upgrade"),
        one().without("upgrade").header("upgrade", "h2c, WebSocket"),
        one().header("content-length", "0"),
        one()
            .authority("example.com:8443")
            .header("origin", "https://Example.com:8443"),
        two().protocol("WebSocket"),
        two().protocol("WEBSOCKET"),
        two().scheme("https"),
        two().header("sec-websocket-key", "not a key"),
    ];
    for ask in table {
        let http = if ask.bytes().starts_with(b"GET") {
            Http::One
        } else {
            Http::Two
        };
        println!("{ask:?}");
        let answer = ask.send(&server).await;
        let mut peer = if http == Http::One {
            assert_eq!(answer.headers.get_all("connection").iter().count(), 1);
            answer.peer
        } else {
            answer.opened(http)
        };
        peer.echoes("hi").await;
        peer.close().await;
    }
}

#[tokio::test]
async fn key_is_answered_on_http2_where_a_client_sends_one() {
    let server = Server::start(endpoint(handler(echo))).await;
    let ask = || Ask::handshake(Http::Two, "/");
    let answer = ask()
        .header("sec-websocket-key", crate::support::http::KEY)
        .send(&server)
        .await;
    let accept = answer.header("sec-websocket-accept");
    assert_eq!(accept, Some(crate::support::http::ACCEPT));
    let answer = ask().send(&server).await;
    assert_eq!(answer.header("sec-websocket-accept"), None);
}

#[tokio::test(start_paused = true)]
async fn endpoint_leaves_other_paths_to_nobody() {
    let service = WebSocketLayer::new(handler(echo)).path("/chat").endpoint();
    on_both(async |http| {
        close(open(service.clone(), http, "/chat").await).await;
        let response = refused(service.clone(), http.request("/other")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    })
    .await;
}
