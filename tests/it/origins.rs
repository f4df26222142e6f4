//! Which pages may connect.

use axum::{Router, routing::any};
use tower_websocket::{Config, OriginPolicy, WebSocketLayer};

use crate::support::{
    echo, handler,
    http::{Ask, Server},
    on_both,
};

/// An echo, behind a policy, and with the feature `axum` by the extractor as well.
async fn serve(policy: OriginPolicy) -> Server {
    let config = Config::default().origin(policy);
    let layer = WebSocketLayer::new(handler(echo)).config(config.clone());
    let app = Router::new().route("/layer", any(async || "a page").layer(layer));
    #[cfg(feature = "axum")]
    let app = {
        use tower_websocket::extract::WebSocketUpgrade;
        let extract = async move |ws: WebSocketUpgrade| ws.config(config).on_upgrade(echo);
        app.route("/extractor", any(extract))
    };
    Server::start(app).await
}

fn paths() -> &'static [&'static str] {
    if cfg!(feature = "axum") {
        &["/layer", "/extractor"]
    } else {
        &["/layer"]
    }
}

/// Asks over both versions of HTTP, at every path, and compares.
async fn answers(policy: OriginPolicy, table: &[(&str, &str, bool)]) {
    let server = serve(policy).await;
    on_both(async |http| {
        for path in paths() {
            for (host, origin, allowed) in table {
                let ask = Ask::handshake(http, path)
                    .authority(*host)
                    .header("origin", *origin);
                let status = ask.send(&server).await.status;
                let expected = if *allowed {
                    http.accepted().as_u16()
                } else {
                    403
                };
                assert_eq!(status, expected, "{path} {host} {origin}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn other_hosts_may_be_allowed_beside_the_servers_own() {
    let policy =
        OriginPolicy::same_host_or(["https://front.example/", "capacitor://localhost", "file://"]);
    let table = [
        ("a.example", "https://a.example", true),
        ("a.example", "https://front.example", true),
        ("a.example", "capacitor://localhost", true),
        ("a.example", "file://", true),
        ("a.example", "https://b.example", false),
        ("a.example", "http://front.example", false),
        ("a.example", "null", false),
    ];
    answers(policy, &table).await;
}

#[tokio::test]
async fn what_devices_send_is_allowed_where_it_is_listed() {
    let policy = OriginPolicy::list([
        "null",
        "https://device.example/setup",
        "chrome-extension://abcdef",
    ]);
    let table = [
        ("a.example", "null", true),
        ("a.example", "https://device.example/setup", true),
        ("a.example", "chrome-extension://abcdef", true),
        ("a.example", "https://device.example", false),
        ("a.example", "https://device.example/", false),
        ("a.example", "chrome-extension://abcdeg", false),
        ("a.example", "https://a.example", false),
    ];
    answers(policy, &table).await;
}

#[tokio::test]
async fn development_server_on_another_port_is_of_the_same_machine() {
    let table = [
        ("localhost:8080", "http://localhost:5173", true),
        ("127.0.0.1:8080", "http://localhost:5173", true),
        ("[::1]:8080", "https://app.localhost", true),
        ("a.example", "https://a.example", true),
        ("a.example", "http://localhost:5173", false),
        ("localhost:8080", "https://evil.example:5173", false),
        ("localhost:8080", "null", false),
    ];
    answers(OriginPolicy::SameHostOrLocalhost, &table).await;
}
