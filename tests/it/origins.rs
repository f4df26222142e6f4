//! Which pages may connect, and what the log says of those that may not.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use axum::{Router, routing::any};
use tower_websocket::{Config, OriginPolicy, WebSocketLayer};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::{
    session::support::lock,
    support::{
        Http, echo, handler,
        http::{Ask, Server},
        on_both,
    },
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

/// What was logged at WARN and above.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN && metadata.target().starts_with("tower_websocket")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        lock(&self.0).push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

#[tokio::test]
async fn refused_origin_is_logged_once_with_its_host_and_what_to_set() {
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let server = serve(OriginPolicy::SameHost).await;
    on_both(async |http| {
        for path in paths() {
            let origin = format!("https://logged-{}.example", http.pick("1", "2"));
            let origin = format!("{origin}{path}");
            for _ in 0..3 {
                let ask = Ask::handshake(http, path).authority("here.example:8080");
                let answer = ask.header("origin", &origin).send(&server).await;
                assert_eq!(answer.status, 403);
            }
            let logged = std::mem::take(&mut *lock(&warnings.0));
            let [line] = &logged[..] else {
                panic!("{logged:?}");
            };
            assert!(line.contains(&format!("origin={origin} ")), "{line}");
            assert!(line.contains("host=here.example:8080 "), "{line}");
            assert!(line.contains("Config::origin"), "{line}");
            assert!(line.contains("OriginPolicy::same_host_or"), "{line}");
            assert!(line.contains("`troubleshooting#403`"), "{line}");
        }
    })
    .await;
}

#[tokio::test]
async fn refused_origin_cannot_write_the_log() {
    let warnings = Warnings::default();
    let _default = tracing::subscriber::set_default(warnings.clone());
    let server = serve(OriginPolicy::list(["https://a.example"])).await;
    let path = "/layer";
    let forged = format!("https://forged.example\" host=\"b\\\t{}", "x".repeat(5000));
    let ask = |http: Http| Ask::handshake(http, path).header("origin", &forged);
    for http in [Http::One, Http::Two] {
        assert_eq!(ask(http).send(&server).await.status, 403);
    }
    let logged = std::mem::take(&mut *lock(&warnings.0));
    let [line] = &logged[..] else {
        panic!("{logged:?}");
    };
    let escaped = r#"origin=https://forged.example\" host=\"b\\\txxx"#;
    assert!(line.contains(escaped), "{line}");
    assert!(line.len() < 800, "{line}");
}
