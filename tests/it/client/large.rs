//! Messages of 64 MiB, both ways, at the limit and one byte past it.

use std::sync::OnceLock;

use axum::{Router, routing::any};
use bytes::Bytes;
use tower_websocket::{
    Config, Error, Message, ProtocolError, WebSocket, WebSocketLayer,
    session::{EndedBy, SessionReport},
};

use super::{client_of, support::served};
use crate::{
    session::support::within,
    support::{Http, Log, close, echo, handler},
};

const LIMIT: usize = 64 << 20;

/// In one frame; in as many as there are MiB, and one more; in thousands, of which none is even.
const FRAGMENTS: [Option<usize>; 3] = [None, Some(1 << 20), Some(99_999)];

/// The front of what is larger than the limit, and nowhere repeats itself.
fn payload(len: usize) -> Bytes {
    static PAYLOAD: OnceLock<Bytes> = OnceLock::new();
    let payload = PAYLOAD.get_or_init(|| {
        let words = 0..=(LIMIT / 4) as u32;
        words.flat_map(u32::to_be_bytes).collect()
    });
    payload.slice(..len)
}

/// Opens a connection over real HTTP in memory, to a route with these settings.
async fn opened<F, Fut>(
    http: Http,
    [client, server]: [Config; 2],
    route: F,
) -> (WebSocket, Log<SessionReport>)
where
    F: Fn(WebSocket) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (pen, ends) = Log::new();
    let layer = WebSocketLayer::new(handler(route))
        .config(server)
        .on_end(move |report| pen.write(report.clone()));
    let app = Router::new().route("/", any(async || "a page").layer(layer));
    let client = client_of(http).config(client);
    let opening = client.request_over(served(app), "ws://localhost/");
    let response = within(opening).await.unwrap();
    assert_eq!(response.status(), http.accepted());
    (response.into_body(), ends)
}

fn limited() -> Config {
    Config::default().max_message_size(LIMIT)
}

fn is_too_big<T>(result: &Result<T, Error>) -> bool {
    // How far it had come depends on where the last frame began.
    matches!(
        result,
        Err(Error::Protocol(ProtocolError::MessageTooBig { limit, .. })) if *limit == LIMIT as u64
    )
}

#[tokio::test(start_paused = true)]
async fn a_message_of_64_mib_is_received_and_sent_by_both_ends() {
    for http in [Http::One, Http::Two] {
        for fragments in FRAGMENTS {
            let config = limited().fragment_size(fragments);
            let (mut client, mut ends) = opened(http, [config.clone(), config], echo).await;
            client.send(payload(LIMIT)).await.unwrap();
            let received = within(client.recv()).await.unwrap().unwrap();
            let same = received == Message::from(payload(LIMIT));
            assert!(same, "{http:?} in {fragments:?}");
            close(client).await;
            let report = ends.next().await;
            assert_eq!((report.close_code, report.clean), (1000, true));
            let frames = fragments.map_or(1, |size| LIMIT.div_ceil(size)) as u64;
            let received = report.bytes_received - LIMIT as u64;
            // Headers of 6 to 14 bytes, a Close, and a ping or pong at most.
            assert!(
                (6 * frames..=14 * frames + 100).contains(&received),
                "{received}"
            );
        }
    }
}

/// Once, as a build without optimisation takes its time to validate.
#[tokio::test(start_paused = true)]
async fn a_text_of_64_mib_is_received_in_fragments_that_cut_characters() {
    let text = "zwölf Zeichen".repeat(LIMIT / 14);
    let len = text.len();
    let sending = Config::default().fragment_size((1 << 20) + 1);
    let route = move |mut socket: WebSocket| async move {
        let received = socket.recv().await?.unwrap();
        let text = received.as_text().unwrap();
        let right = text.len() == len && text.ends_with("zwölf Zeichen");
        socket.send(if right { "right" } else { "wrong" }).await
    };
    let (mut client, _ends) = opened(Http::Two, [sending, limited()], route).await;
    client.send(text).await.unwrap();
    let answer = within(client.recv()).await.unwrap();
    assert_eq!(answer, Some("right".into()));
}

#[tokio::test(start_paused = true)]
async fn a_server_refuses_a_message_one_byte_past_64_mib() {
    for http in [Http::One, Http::Two] {
        for fragments in FRAGMENTS {
            let sending = Config::default().fragment_size(fragments);
            let (pen, mut errors) = Log::new();
            let route = move |mut socket: WebSocket| {
                let pen = pen.clone();
                async move {
                    let received = socket.recv().await;
                    pen.write(is_too_big(&received));
                    received.map(drop)
                }
            };
            let (client, mut ends) = opened(http, [sending, limited()], route).await;
            client.send(payload(LIMIT + 1)).await.unwrap();
            assert!(errors.next().await, "{http:?} in {fragments:?}");
            let report = ends.next().await;
            assert_eq!(
                (report.close_code, report.ended_by),
                (1009, EndedBy::Violation)
            );
            assert_eq!(report.messages_received, 0);
            // A frame that is too large by itself is refused by its header.
            let most = if fragments.is_none() {
                2 << 20
            } else {
                LIMIT + (2 << 20)
            };
            assert!(
                report.bytes_received < most as u64,
                "{}",
                report.bytes_received
            );
            within(client.closed()).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_refuses_a_message_one_byte_past_64_mib() {
    for http in [Http::One, Http::Two] {
        for fragments in FRAGMENTS {
            let sending = Config::default().fragment_size(fragments);
            let route = |socket: WebSocket| async move {
                socket.send(payload(LIMIT + 1)).await?;
                socket.closed().await;
                Ok(())
            };
            let (mut client, mut ends) = opened(http, [limited(), sending], route).await;
            let received = within(client.recv()).await;
            assert!(
                is_too_big(&received),
                "{http:?} in {fragments:?}: {received:?}"
            );
            within(client.closed()).await;
            // The server has had the client's Close, or has lost it.
            let report = ends.next().await;
            assert!([1009, 1006].contains(&report.close_code), "{report:?}");
        }
    }
}
