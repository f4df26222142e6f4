//! Draining: every connection is closed before the server stops.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::any};
use futures_util::{FutureExt, future::join_all};
use http::StatusCode;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::duplex,
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep},
};
use tower::ServiceExt;
use tower_websocket::{
    CloseCode, Config, Connections, Handshake, WebSocket, WebSocketLayer,
    service::OnUpgrade,
    session::{Drain, Drained},
};

use crate::{
    crowd::{Kept, OnDrop, ask, registered, tasks, until},
    session::support::{PIPE, SHAPES, Shape, idle, lock},
    support::{
        Http, Log, echo, handler,
        http::{Ask, Peer, Server},
        on_both, open, refused, within,
    },
};

fn drained(ended: usize, aborted: usize) -> Drained {
    let mut drained = Drained::default();
    (drained.ended, drained.aborted) = (ended, aborted);
    drained
}

/// Receives for ever, also after the end.
async fn ignore(mut socket: WebSocket) {
    while let Ok(Some(_)) = socket.recv().await {}
    pending::<()>().await;
}

#[tokio::test(start_paused = true)]
async fn drain_waits_until_the_handler_is_gone_with_all_it_holds() {
    for aborts in [false, true] {
        for shape in SHAPES {
            let connections = Connections::new();
            let (pen, mut log) = Log::new();
            let watched = connections.clone();
            let service = registered(&connections, move |mut socket: WebSocket| {
                let (pen, connections) = (pen.clone(), watched.clone());
                let guard = OnDrop(move || {
                    // What a handler does last may take its time, in another thread.
                    let drain = pin!(connections.drain(Drain::default()));
                    pen.write(drain.now_or_never());
                });
                async move {
                    let _guard = guard;
                    while let Ok(Some(_)) = socket.recv().await {}
                    if aborts {
                        pending::<()>().await;
                    }
                }
            });
            let mut peer = Peer::open(service, ask(shape)).await;
            let drain = Drain::default().timeout(Duration::from_secs(3));
            let (result, _) = tokio::join!(connections.drain(drain), peer.closed());
            let expected = if aborts { (0, 1) } else { (1, 0) };
            assert_eq!((result.ended, result.aborted), expected);
            assert_eq!(log.next().await, None, "a drain had to wait");
            assert_eq!(connections.drain(Drain::default()).await, drained(0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn drain_of_no_connections_is_over_at_once() {
    let connections = Connections::new();
    assert!(!connections.is_draining());
    let drain = Drain::default().timeout(Duration::MAX);
    assert_eq!(connections.drain(drain).now_or_never(), Some(drained(0, 0)));
    assert!(connections.is_draining());
}

#[tokio::test]
async fn handshakes_are_refused_while_other_requests_are_served() {
    on_both(async |http| {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(echo)).connections(&connections);
        let app = Router::new()
            .route("/shared", any(async || "page").layer(layer.clone()))
            .route_service("/", layer.endpoint());
        let server = Server::start(app).await;
        let peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        let (result, mut peer) = tokio::join!(connections.drain(Drain::default()), async {
            let mut peer = peer;
            assert_eq!(peer.closed().await.0, 1001);
            peer
        });
        assert_eq!(result, drained(1, 0));
        assert!(peer.rest().await.is_empty());
        for path in ["/", "/shared"] {
            let mut answer = Ask::handshake(http, path).send(&server).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.text(), "the server is shutting down");
            assert_eq!(answer.header("connection"), http.pick(Some("close"), None));
            if http == Http::One {
                assert_eq!(answer.peer.rest().await, "", "the connection ends");
            }
        }
        let page = Ask::plain(http, "/shared").send(&server).await;
        assert_eq!((page.status.as_u16(), page.text()), (200, "page"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connection_that_opens_during_a_drain_is_told_the_same() {
    for shape in SHAPES {
        let connections = Connections::new();
        let (hand_over, stream) = oneshot::channel();
        let (ours, theirs) = duplex(PIPE);
        let mut request = ask(shape);
        let upgrade =
            OnUpgrade::from_future(async { Ok(stream.await.expect("it is handed over")) });
        request.extensions_mut().insert(upgrade);
        let service = registered(&connections, echo);
        let answer = service.oneshot(request).await.unwrap();
        assert!(answer.status().as_u16() < 300);
        let frame = (CloseCode::new(4100).unwrap(), "maintenance");
        let drain = connections.drain(Drain::default().close_frame(frame));
        let mut drain = pin!(drain);
        idle().await;
        assert!(drain.as_mut().now_or_never().is_none(), "it waits");
        hand_over.send(theirs).unwrap();
        let mut peer = Peer::over(ours);
        let (result, seen) = tokio::join!(drain, peer.closed());
        assert_eq!(seen, (4100, "maintenance".to_owned()));
        assert_eq!(result, drained(1, 0));
        assert_eq!(connections.counters().closed, BTreeMap::from([(4100, 1)]));
    }
}

#[tokio::test(start_paused = true)]
async fn handshake_that_a_hook_holds_over_the_start_of_a_drain_is_refused() {
    on_both(async |http| {
        let connections = Connections::new();
        let layer = WebSocketLayer::new(handler(echo))
            .connections(&connections)
            .on_handshake(async |handshake: Handshake| {
                sleep(Duration::from_secs(5)).await;
                handshake.accept()
            });
        let refused = refused(layer.endpoint(), http.request("/"));
        let drain = async {
            idle().await;
            let drain = Drain::default().retry_after(Duration::from_secs(60));
            connections.drain(drain).await
        };
        let (refused, result) = tokio::join!(refused, drain);
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["retry-after"], "60");
        assert_eq!(result, drained(0, 0));
        let counters = connections.counters();
        assert_eq!((counters.accepted, counters.rejected["Draining"]), (0, 1));
        assert_eq!(connections.drain(Drain::default()).await, drained(0, 0));
    })
    .await;
}

/// Who stops the server knows when there is another one.
#[tokio::test(start_paused = true)]
async fn drain_tells_those_it_refuses_when_to_come_back() {
    for (wait, seconds) in [
        (None, "5"),
        (Some(Duration::ZERO), "0"),
        (Some(Duration::from_millis(89_001)), "90"),
    ] {
        let (connections, drain) = (Connections::new(), Drain::default());
        let drain = match wait {
            Some(wait) => drain.retry_after(wait),
            None => drain,
        };
        connections.drain(drain).await;
        // The first one has said it.
        let later = Drain::default().retry_after(Duration::from_secs(7));
        connections.drain(later).await;
        let layer = WebSocketLayer::new(handler(echo)).connections(&connections);
        on_both(async |http| {
            let response = refused(layer.clone().endpoint(), http.request("/")).await;
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()["retry-after"], seconds);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn handshake_whose_stream_never_comes_has_neither_ended_nor_been_aborted() {
    let connections = Connections::new();
    let config = Config::default().write_timeout(None);
    let service = WebSocketLayer::new(handler(echo))
        .config(config)
        .connections(&connections)
        .endpoint();
    let (_keep, never) = oneshot::channel::<tokio::io::DuplexStream>();
    let mut request = ask(Shape::H1);
    let upgrade = async {
        never
            .await
            .map_err(|_| std::io::ErrorKind::NotConnected.into())
    };
    request
        .extensions_mut()
        .insert(OnUpgrade::from_future(upgrade));
    service.clone().oneshot(request).await.unwrap();
    let mut peer = Peer::open(service, ask(Shape::H1)).await;
    let drain = Drain::default().timeout(Duration::from_secs(4));
    let (result, _) = tokio::join!(connections.drain(drain), peer.closed());
    assert_eq!(result, drained(1, 0));
}

#[tokio::test(start_paused = true)]
async fn custom_close_frame_is_what_every_client_sees() {
    on_both(async |http| {
        let connections = Connections::new();
        let mut clients = Vec::new();
        for _ in 0..5 {
            clients.push(open(registered(&connections, echo), http, "/").await);
        }
        let frame = (CloseCode::SERVICE_RESTART, "back in a minute");
        let drain = connections.drain(Drain::default().close_frame(frame));
        let ends = clients.iter_mut().map(async |client| {
            assert!(client.recv().await.unwrap().is_none());
            let frame = client.received_close().unwrap();
            assert_eq!(
                (frame.code(), frame.reason()),
                (CloseCode::SERVICE_RESTART, "back in a minute")
            );
        });
        let (result, _) = tokio::join!(drain, join_all(ends));
        assert_eq!(result, drained(5, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn two_thousand_mixed_connections_are_drained_by_the_deadline() {
    let connections = Connections::new();
    let before = tasks();
    let (value, kept) = Kept::new();
    let clean = Arc::new(Mutex::new(BTreeMap::new()));
    let layer = |stubborn: bool| {
        let (value, seen) = (value.clone(), clean.clone());
        let route = move |socket: WebSocket| {
            let value = value.clone();
            async move {
                let _value = value;
                if stubborn {
                    ignore(socket).await;
                } else {
                    let _gone = echo(socket).await;
                }
            }
        };
        WebSocketLayer::new(handler(route))
            .connections(&connections)
            .on_end(move |report| {
                let key = (report.clean, report.close_code);
                *lock(&seen).entry(key).or_insert(0) += 1;
            })
            .endpoint()
    };
    let (polite, stubborn) = (layer(false), layer(true));
    drop(value);
    let mut peers = Vec::new();
    for index in 0..2000 {
        let shape = SHAPES[index % 2];
        // Handlers that run on, and peers that read and answer nothing.
        let (service, deaf) = match index / 2 % 10 {
            0 => (stubborn.clone(), false),
            1 => (polite.clone(), true),
            2 => (stubborn.clone(), true),
            _ => (polite.clone(), false),
        };
        peers.push((Peer::open(service, ask(shape)).await, deaf));
    }
    idle().await;
    assert_eq!((connections.len(), kept.count()), (2000, 2002));
    let start = Instant::now();
    let ends = peers.iter_mut().filter(|(_, deaf)| !deaf);
    let ends = join_all(ends.map(async |(peer, _)| {
        let (code, reason) = peer.closed().await;
        assert_eq!((code, &*reason), (1001, "the server is shutting down"));
        start.elapsed()
    }));
    let drain = Drain::default().timeout(Duration::from_secs(4));
    let (result, times) = tokio::join!(connections.drain(drain), ends);
    let elapsed = start.elapsed();
    assert_eq!(result, drained(1400, 600));
    assert_eq!(times.len(), 1600);
    let last = times.iter().max().unwrap();
    assert!(*last < Duration::from_secs(3), "{last:?}");
    assert!(elapsed >= Duration::from_secs(4) && elapsed < Duration::from_millis(4100));
    let expected = BTreeMap::from([((true, 1001), 1600), ((false, 1001), 400)]);
    assert_eq!(*lock(&clean), expected);
    idle().await;
    assert_eq!(kept.count(), 2, "the services' own");
    assert_eq!(tasks(), before);
    assert!(connections.is_empty());
    assert_eq!(connections.drain(Drain::default()).await, drained(0, 0));
}

/// Opens that many connections, and tells when each of them was closed.
async fn closings(count: usize, drain: Drain) -> Vec<(usize, Duration)> {
    let connections = Connections::sequential();
    let (times, mut closed) = mpsc::unbounded_channel();
    for index in 0..count {
        let mut peer = Peer::open(registered(&connections, echo), ask(SHAPES[index % 2])).await;
        let times = times.clone();
        tokio::spawn(async move {
            peer.closed().await;
            times.send((index, Instant::now())).unwrap();
        });
    }
    drop(times);
    idle().await;
    let start = Instant::now();
    assert_eq!(connections.drain(drain).await, drained(count, 0));
    let mut all = Vec::new();
    while let Some((index, time)) = closed.recv().await {
        all.push((index, time - start));
    }
    assert_eq!(all.len(), count);
    all
}

#[tokio::test(start_paused = true)]
async fn connections_are_closed_in_batches_at_the_rate_and_in_random_order() {
    let minute = Drain::default().timeout(Duration::from_secs(60));
    let all = closings(1000, minute.rate(100)).await;
    let times: Vec<_> = all.iter().map(|(_, time)| *time).collect();
    let last = times.last().unwrap().as_millis();
    assert!((9_700..=10_000).contains(&last), "{last} ms");
    for (index, start) in times.iter().enumerate() {
        let within = |time: &&Duration| **time < *start + Duration::from_secs(1);
        let window = times[index..].iter().take_while(within).count();
        assert!(window <= 120, "{window} in a second");
    }
    let mut batches = times;
    batches.dedup();
    assert!((80..=100).contains(&batches.len()), "{}", batches.len());
    let gaps = batches.windows(2).map(|pair| pair[1] - pair[0]);
    let (least, most) = gaps.fold((Duration::MAX, Duration::ZERO), |(least, most), gap| {
        (least.min(gap), most.max(gap))
    });
    assert!(least < Duration::from_millis(80) && most > Duration::from_millis(120));
    assert!(
        !all.is_sorted_by_key(|(index, _)| *index),
        "in random order"
    );
    // Nor shard by shard, as the registry has them.
    let shards: BTreeSet<_> = all[..50].iter().map(|(index, _)| index % 16).collect();
    assert!(shards.len() > 4, "{shards:?}");
}

#[tokio::test(start_paused = true)]
async fn rate_of_a_few_per_second_is_kept() {
    let minute = Drain::default().timeout(Duration::from_secs(60));
    for (rate, seconds) in [(0, 9..=10), (1, 9..=10), (2, 4..=5), (4, 2..=3)] {
        let all = closings(11, minute.clone().rate(rate)).await;
        let last = all.last().unwrap().1.as_secs();
        assert!(seconds.contains(&last), "{last} s at {rate}");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_takes_at_most_half_of_the_time() {
    for (count, rate, seconds) in [(500, 1, 10), (30, 1, 20), (30, 1000, 20), (2, 1, 1)] {
        let timeout = Duration::from_secs(seconds);
        let drain = Drain::default().timeout(timeout).rate(rate);
        let last = closings(count, drain).await.last().unwrap().1;
        assert!(
            last <= timeout / 2 + Duration::from_millis(2),
            "{last:?} of {timeout:?}"
        );
        // It takes what it may, and no longer than it needs.
        let least = if rate == 1 {
            timeout * 2 / 5
        } else {
            Duration::ZERO
        };
        assert!(last >= least || count == 2, "{last:?} of {timeout:?}");
    }
    let all = closings(
        100,
        Drain::default()
            .timeout(Duration::from_secs(1))
            .rate(u32::MAX),
    )
    .await;
    assert_eq!(all.last().unwrap().1.as_millis(), 0);
}

#[tokio::test(start_paused = true)]
async fn drain_without_time_aborts_everything() {
    let connections = Connections::new();
    let mut peer = Peer::open(registered(&connections, ignore), ask(Shape::H1)).await;
    idle().await;
    let drain = Drain::default().timeout(Duration::ZERO);
    assert_eq!(connections.drain(drain).await, drained(0, 1));
    within(peer.rest()).await;
    assert!(connections.is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_drains_at_once_both_see_the_end() {
    on_both(async |http| {
        let connections = Connections::new();
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(open(registered(&connections, echo), http, "/").await);
        }
        let other = connections.clone();
        let patient = Drain::default().close_frame(CloseCode::SERVICE_RESTART);
        let hasty = Drain::default().timeout(Duration::from_secs(20));
        let ends = clients.iter_mut().map(async |client| {
            assert!(client.recv().await.unwrap().is_none());
            let code = client.received_close().unwrap().code();
            assert_eq!(code, CloseCode::SERVICE_RESTART, "the first one decides");
        });
        let (first, second, _) = tokio::join!(
            other.drain(patient),
            connections.drain(hasty),
            join_all(ends)
        );
        assert_eq!((first, second), (drained(20, 0), drained(20, 0)));

        // One that has the patience of the other's deadline.
        let connections = Connections::new();
        let _stuck = open(registered(&connections, ignore), http, "/").await;
        idle().await;
        let short = Drain::default().timeout(Duration::from_secs(1));
        let (long, short) = tokio::join!(
            connections.drain(Drain::default()),
            connections.drain(short)
        );
        assert_eq!((long, short), (drained(1, 0), drained(0, 1)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn dropped_drain_leaves_handshakes_refused_and_connections_open() {
    on_both(async |http| {
        let connections = Connections::new();
        let service = registered(&connections, echo);
        let mut clients = Vec::new();
        for _ in 0..10 {
            clients.push(open(service.clone(), http, "/").await);
        }
        idle().await;
        let slow = Drain::default().rate(1).timeout(Duration::from_secs(60));
        let drain = connections.drain(slow);
        let few = tokio::time::timeout(Duration::from_millis(3500), drain).await;
        assert!(few.is_err());
        idle().await;
        let open = connections.iter().filter(|sender| sender.is_open()).count();
        assert!((5..=7).contains(&open), "{open} are open");
        sleep(Duration::from_secs(10)).await;
        assert_eq!(connections.len(), open);
        refused(service.clone(), http.request("/")).await;
        let all = connections.drain(Drain::default()).await;
        assert_eq!(all, drained(open, 0));
    })
    .await;
}

/// Stops a server that serves an echo and `ignore`, and drains beside it; both have to end.
async fn stops(http: Http, mut server: Server, stop: watch::Sender<()>, connections: Connections) {
    let mut polite = Vec::new();
    for _ in 0..3 {
        let mut peer = Ask::handshake(http, "/").send(&server).await.opened(http);
        peer.echoes("hi").await;
        polite.push(peer);
    }
    until(|| connections.len() == 3).await;
    let mut stopped = stop.subscribe();
    let drain = async {
        stopped.changed().await.unwrap();
        connections.drain(Drain::default()).await
    };
    let ends = polite.iter_mut().map(async |peer| peer.closed().await.0);
    let (_, result, codes, _) = tokio::join!(server.stopped(), drain, join_all(ends), async {
        stop.send_replace(())
    },);
    assert_eq!(result, drained(3, 0));
    assert_eq!(codes, [1001; 3]);
}

/// As [`stops`], with handlers that run on, and peers that answer nothing.
async fn aborts(http: Http, mut server: Server, stop: watch::Sender<()>, connections: Connections) {
    let mut deaf = Vec::new();
    for path in ["/", "/ignore", "/ignore"] {
        deaf.push(Ask::handshake(http, path).send(&server).await.opened(http));
    }
    until(|| connections.len() == 3).await;
    let mut stopped = stop.subscribe();
    let drain = async {
        stopped.changed().await.unwrap();
        let drain = Drain::default().timeout(Duration::ZERO);
        connections.drain(drain).await
    };
    let stop = async { stop.send_replace(()) };
    let (_, result, _) = tokio::join!(server.stopped(), drain, stop);
    assert_eq!(result, drained(0, 3));
    for peer in &mut deaf {
        peer.rest().await;
    }
}

/// An app for [`stops`] and [`aborts`].
fn app(connections: &Connections) -> Router {
    Router::new()
        .route_service("/", registered(connections, echo))
        .route_service("/ignore", registered(connections, ignore))
}

async fn change(mut stop: watch::Receiver<()>) {
    let _stopped = stop.changed().await;
}

#[tokio::test]
async fn axum_stops_gracefully_beside_a_drain() {
    let serve = async || {
        let connections = Connections::new();
        let (stop, stopped) = watch::channel(());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = axum::serve(listener, app(&connections));
        let serving = serving.with_graceful_shutdown(change(stopped));
        let server = Server::other(address, async { serving.await.unwrap() });
        (server, stop, connections)
    };
    on_both(async |http| {
        let (server, stop, connections) = serve().await;
        stops(http, server, stop, connections).await;
        let (server, stop, connections) = serve().await;
        aborts(http, server, stop, connections).await;
    })
    .await;
}

#[tokio::test]
async fn hyper_util_stops_gracefully_beside_a_drain() {
    let serve = async || {
        let connections = Connections::new();
        let (stop, stopped) = watch::channel(());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = TowerToHyperService::new(app(&connections));
        let server = Server::other(address, async move {
            let graceful = GracefulShutdown::new();
            let mut stopped = pin!(change(stopped));
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = &mut stopped => break,
                };
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().enable_connect_protocol();
                let io = TokioIo::new(stream);
                let connection = builder.serve_connection_with_upgrades(io, app.clone());
                let connection = graceful.watch(connection.into_owned());
                tokio::spawn(async { drop(connection.await) });
            }
            graceful.shutdown().await;
        });
        (server, stop, connections)
    };
    on_both(async |http| {
        let (server, stop, connections) = serve().await;
        stops(http, server, stop, connections).await;
        let (server, stop, connections) = serve().await;
        aborts(http, server, stop, connections).await;
    })
    .await;
}
