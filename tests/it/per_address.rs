//! Limits for each address.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::Response;
use tokio::time::{Instant, advance, sleep};
use tower::Service;
use tower_websocket::{
    Connections, Handshake, WebSocket, WebSocketLayer,
    handshake::Rejection,
    service::{Decision, PeerAddr, PerAddress},
    testing::{self, ConnectError, Empty, TestRequest},
};

use crate::support::{
    Http, close, echo, echoes, handler,
    http::{Ask, Server},
    on_both, refused, within,
};

/// A handshake of a client with this address.
fn from(http: Http, address: &str) -> TestRequest<Empty> {
    let request = http.request("/");
    let address: IpAddr = address.parse().unwrap();
    request.extension(PeerAddr(SocketAddr::new(address, 4321)))
}

/// The answer to one more than there may be, and after how many seconds there is one.
async fn beyond(
    service: impl Service<
        http::Request<Empty>,
        Response = Response<impl http_body::Body>,
        Error = Infallible,
    >,
    request: TestRequest<Empty>,
) -> (Rejection, u64) {
    let response = refused(service, request).await;
    assert_eq!(response.status(), 429);
    let retry_after = response.headers()["retry-after"].to_str().unwrap();
    let rejection = response.extensions().get().cloned().unwrap();
    (rejection, retry_after.parse().unwrap())
}

#[tokio::test(start_paused = true)]
async fn one_more_than_an_address_may_have_open_is_429_until_one_has_ended() {
    on_both(async |http| {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(echo))
            .connections(&connections)
            .per_address(&PerAddress::new().max_open(2));
        let service = layer.endpoint();
        let open = async |address| {
            let opened = testing::connect(service.clone(), from(http, address)).await;
            opened.unwrap().1
        };
        let first = open("192.0.2.1").await;
        let mut second = open("::ffff:192.0.2.1").await;
        for _ in 0..3 {
            let (rejection, retry_after) = beyond(service.clone(), from(http, "192.0.2.1")).await;
            assert_eq!((rejection, retry_after), (Rejection::TooManyOpen, 5));
        }
        assert_eq!(connections.counters().rejected["TooManyOpen"], 3);
        // Others have places of their own.
        close(open("192.0.2.2").await).await;
        // Not the answer to its handshake ends a connection, but its end.
        echoes(&mut second, "still there").await;
        close(first).await;
        sleep(Duration::from_millis(1)).await;
        close(open("192.0.2.1").await).await;
        close(second).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_more_new_one_is_429_until_its_time_has_come() {
    on_both(async |http| {
        let limit = PerAddress::new().max_new(3, Duration::from_secs(60));
        let layer = WebSocketLayer::new(handler(echo)).per_address(&limit);
        let service = layer.endpoint();
        let ask = || from(http, "2001:db8:0:7::1");
        for _ in 0..3 {
            close(testing::connect(service.clone(), ask()).await.unwrap().1).await;
        }
        // What has ended was new all the same, and the whole /64 is one address.
        let (rejection, retry_after) = beyond(service.clone(), from(http, "2001:db8:0:7::2")).await;
        assert!(
            matches!(rejection, Rejection::TooManyNew { .. }),
            "{rejection:?}"
        );
        assert!((19..=20).contains(&retry_after), "{retry_after} s");
        testing::connect(service.clone(), from(http, "2001:db8:0:8::1"))
            .await
            .unwrap();
        advance(Duration::from_secs(retry_after)).await;
        testing::connect(service.clone(), ask()).await.unwrap();
        beyond(service, ask()).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn refusal_of_the_hook_was_a_new_one_and_is_not_open() {
    on_both(async |http| {
        let limit = PerAddress::new()
            .max_open(1)
            .max_new(3, Duration::from_secs(3));
        let hook = async |handshake: Handshake| -> Decision {
            handshake.reject(http::StatusCode::UNAUTHORIZED)
        };
        let layer = WebSocketLayer::new(handler(echo))
            .per_address(&limit)
            .on_handshake(hook);
        let service = layer.endpoint();
        for _ in 0..3 {
            let refusal = refused(service.clone(), from(http, "192.0.2.1")).await;
            assert_eq!(refusal.status(), 401);
        }
        let (rejection, retry_after) = beyond(service, from(http, "192.0.2.1")).await;
        assert!(
            matches!(rejection, Rejection::TooManyNew { .. }),
            "{rejection:?}"
        );
        assert_eq!(retry_after, 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn place_returns_however_a_connection_of_an_address_ends() {
    async fn handle(mut socket: WebSocket) -> Result<(), tower::BoxError> {
        match socket
            .recv()
            .await?
            .as_ref()
            .and_then(|order| order.as_text())
        {
            Some("error") => Err("as ordered".into()),
            Some("panic") => panic!("as ordered"),
            _ => Ok(()),
        }
    }
    on_both(async |http| {
        let limit = PerAddress::new().max_open(1);
        let service = WebSocketLayer::new(handler(handle))
            .per_address(&limit)
            .endpoint();
        for order in ["end", "error", "panic", "abort", "leave"] {
            let opened = testing::connect(service.clone(), from(http, "192.0.2.1")).await;
            let mut client = opened.unwrap_or_else(|error| panic!("{order}: {error}")).1;
            beyond(service.clone(), from(http, "192.0.2.1")).await;
            match order {
                "abort" => client.abort(),
                "leave" => drop(client),
                order => {
                    client.send(order).await.unwrap();
                    while let Ok(Some(_)) = client.recv().await {}
                }
            }
            // The rest of a closing handshake has its deadlines.
            sleep(Duration::from_secs(10)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn layers_with_clones_of_a_limit_count_together() {
    on_both(async |http| {
        let limit = PerAddress::new().max_open(1);
        let layer = || WebSocketLayer::new(handler(echo)).per_address(&limit);
        let (here, there) = (layer().endpoint(), layer().endpoint());
        let opened = testing::connect(here, from(http, "192.0.2.1"))
            .await
            .unwrap();
        beyond(there, from(http, "192.0.2.1")).await;
        drop(opened);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn address_behind_a_proxy_is_told_by_a_function() {
    on_both(async |http| {
        let limit = PerAddress::new().max_open(1).address(|head| {
            let told = head.headers.get("x-forwarded-for")?.to_str().ok()?;
            told.parse().ok()
        });
        let service = WebSocketLayer::new(handler(echo))
            .per_address(&limit)
            .endpoint();
        let ask = |client| from(http, "127.0.0.1").header("x-forwarded-for", client);
        let open = async |client| {
            testing::connect(service.clone(), ask(client))
                .await
                .unwrap()
        };
        let both = (open("192.0.2.1").await, open("192.0.2.2").await);
        beyond(service.clone(), ask("192.0.2.2")).await;
        // Whose address is not known is not limited.
        let nobody = (open("unknown").await, open("unknown").await);
        drop((both, nobody));
    })
    .await;
}

/// A thousand addresses ask five times each, and one asks a thousand times.
#[tokio::test(start_paused = true)]
async fn flood_of_a_thousand_addresses_and_of_one_opens_what_is_allowed_and_no_more() {
    on_both(async |http| {
        let connections = Connections::new();
        let limit = PerAddress::new()
            .max_open(10)
            .max_new(2, Duration::from_secs(30));
        let layer = WebSocketLayer::new(handler(echo)).connections(&connections);
        let service = layer.per_address(&limit).endpoint();
        let start = Instant::now();
        let ask =
            async |address: String| match testing::connect(service.clone(), from(http, &address))
                .await
            {
                Ok((_, client)) => Some(client),
                Err(ConnectError::Rejected(response)) => {
                    assert_eq!(response.status(), 429);
                    None
                }
                Err(error) => panic!("{error}"),
            };
        let mut open = Vec::new();
        for _ in 0..5 {
            for address in 0..1000 {
                open.extend(ask(format!("10.0.{}.{}", address / 250, address % 250)).await);
            }
        }
        for _ in 0..1000 {
            open.extend(ask("192.0.2.1".to_owned()).await);
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        // Each has its turn.
        sleep(Duration::from_millis(1)).await;
        assert_eq!((open.len(), connections.len()), (2002, 2002));
        assert_eq!(connections.counters().rejected["TooManyNew"], 3998);
        drop(open);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(connections.len(), 0);
        for _ in 0..2 {
            assert!(ask("10.0.0.0".to_owned()).await.is_some());
        }
    })
    .await;
}

#[tokio::test]
async fn address_is_that_of_the_connection_under_our_server() {
    let limit = PerAddress::new().max_open(2);
    let app = WebSocketLayer::new(handler(echo))
        .per_address(&limit)
        .endpoint();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::other(address, async {
        tower_websocket::serve(listener, app).await.unwrap();
    });
    let mut open = Vec::new();
    on_both(async |http| {
        let answer = Ask::handshake(http, "/").send(&server).await;
        open.push(answer.opened(http));
    })
    .await;
    on_both(async |http| {
        let answer = within(Ask::handshake(http, "/").send(&server)).await;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("retry-after"), Some("5"));
    })
    .await;
}

#[cfg(feature = "axum")]
#[tokio::test(start_paused = true)]
async fn extractor_has_the_limit_too() {
    use axum::{Router, response::Response, routing::any};
    use tower_websocket::extract::WebSocketUpgrade;

    on_both(async |http| {
        let limit = PerAddress::new().max_open(1);
        let chat = async move |upgrade: WebSocketUpgrade| -> Response {
            upgrade.per_address(&limit).on_upgrade(echo)
        };
        let app: Router = Router::new().route("/", any(chat));
        let opened = testing::connect(app.clone(), from(http, "192.0.2.1"))
            .await
            .unwrap();
        let (rejection, _) = beyond(app.clone(), from(http, "192.0.2.1")).await;
        assert_eq!(rejection, Rejection::TooManyOpen);
        close(opened.1).await;
        sleep(Duration::from_secs(1)).await;
        testing::connect(app, from(http, "192.0.2.1"))
            .await
            .unwrap();
    })
    .await;
}

/// What one server answers to so many handshakes over each version, all from one address.
#[cfg(feature = "axum")]
async fn is_limited_under_axum(app: axum::Router) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let server = Server::other(address, async {
        axum::serve(listener, app).await.unwrap();
    });
    let mut open = Vec::new();
    on_both(async |http| {
        let answer = Ask::handshake(http, "/").send(&server).await;
        open.push(answer.opened(http));
    })
    .await;
    on_both(async |http| {
        let answer = within(Ask::handshake(http, "/").send(&server)).await;
        assert_eq!(answer.status, 429);
    })
    .await;
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn address_is_that_of_the_connection_under_axums_server() {
    let limit = PerAddress::new().max_open(2);
    let layer = WebSocketLayer::new(handler(echo)).per_address(&limit);
    is_limited_under_axum(axum::Router::new().route_service("/", layer.endpoint())).await;
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn extractor_knows_the_address_under_axums_server() {
    use axum::{Router, extract::State, response::Response, routing::any};
    use tower_websocket::extract::WebSocketUpgrade;

    async fn chat(upgrade: WebSocketUpgrade, State(limit): State<PerAddress>) -> Response {
        upgrade.per_address(&limit).on_upgrade(echo)
    }
    let limit = PerAddress::new().max_open(2);
    is_limited_under_axum(Router::new().route("/", any(chat)).with_state(limit)).await;
}

#[tokio::test(start_paused = true)]
async fn clones_with_rates_of_their_own_count_new_ones_for_themselves() {
    on_both(async |http| {
        let limit = PerAddress::new();
        let endpoint = |limit: &PerAddress| {
            WebSocketLayer::new(handler(echo))
                .per_address(limit)
                .endpoint()
        };
        let login = limit.clone().max_new(3, Duration::from_secs(3600));
        let feed = limit.clone().max_new(1000, Duration::from_secs(1));
        // One that was made after it has the same rate.
        let (login, again, feed) = (endpoint(&login), endpoint(&login.clone()), endpoint(&feed));
        let ask = || from(http, "192.0.2.1");
        for _ in 0..3 {
            testing::connect(login.clone(), ask()).await.unwrap();
        }
        beyond(login.clone(), ask()).await;
        // It is not locked out of the other, whose time does not let it in here again.
        for _ in 0..5 {
            testing::connect(feed.clone(), ask()).await.unwrap();
            advance(Duration::from_secs(2)).await;
        }
        beyond(login, ask()).await;
        let (_, retry_after) = beyond(again, ask()).await;
        assert!((1180..=1190).contains(&retry_after), "{retry_after} s");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_open_counts_for_clones_without_a_limit_too() {
    on_both(async |http| {
        let limit = PerAddress::new().max_open(1);
        let endpoint = |limit: &PerAddress| {
            WebSocketLayer::new(handler(echo))
                .per_address(limit)
                .endpoint()
        };
        let (limited, free) = (endpoint(&limit), endpoint(&limit.clone().max_open(None)));
        let ask = || from(http, "192.0.2.1");
        let opened = testing::connect(free.clone(), ask()).await.unwrap();
        beyond(limited, ask()).await;
        testing::connect(free, ask()).await.unwrap();
        drop(opened);
    })
    .await;
}
