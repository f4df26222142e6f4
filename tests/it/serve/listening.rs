//! What a server listens on, and what it serves there.

use std::{io::ErrorKind, net::SocketAddr};

use axum::{Router, extract::ConnectInfo, routing::get};
use tokio::net::TcpStream;
use tower::service_fn;
use tower_websocket::{
    serve,
    serve::{ConnectionEnd, Listen, PerConnection},
};

use super::{app, echoes, support::memory};
use crate::support::{
    Http, Log,
    http::{Ask, Http2, Peer, Server},
    on_both, within,
};

/// Echoes over both HTTP versions.
async fn assert_served<L>(listen: L)
where
    L: Listen<Listener = tokio::net::TcpListener>,
{
    let serving = serve(listen, app()).bind().await.unwrap();
    let address = serving.local_addr().unwrap();
    assert_ne!(address.port(), 0);
    let server = Server::other(address, async {
        serving.await.unwrap();
    });
    on_both(async |http| {
        let answer = Ask::handshake(http, "/echo").send(&server).await;
        echoes(answer.opened(http)).await;
    })
    .await;
}

#[tokio::test]
async fn address_is_as_good_as_a_listener() {
    let address = String::from("127.0.0.1:0");
    assert_served(&*address).await;
    assert_served(&address).await;
    assert_served(address).await;
    assert_served("localhost:0").await;
    assert_served(SocketAddr::from(([127, 0, 0, 1], 0))).await;
    assert_served(std::net::TcpListener::bind("127.0.0.1:0").unwrap()).await;
    assert_served(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap()).await;
}

#[tokio::test]
async fn address_that_cannot_be_bound_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = within(serve(&address, app()).into_future())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("cannot listen on {address}: ")),
        "{text}"
    );
    let error = within(serve("127.0.0.1", app()).into_future())
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("cannot listen on 127.0.0.1: "), "{text}");
}

#[cfg(unix)]
#[tokio::test]
async fn unix_listener_of_the_standard_library_is_served() {
    let path = std::env::temp_dir().join(format!("tower-websocket-std-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let _server = Server::other(([127, 0, 0, 1], 0).into(), async {
        serve(listener, app()).await.unwrap();
    });
    let stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut peer = Peer::over(stream);
    peer.write(&Ask::handshake(Http::One, "/echo").bytes())
        .await;
    within(echoes(within(peer.answer()).await.opened(Http::One))).await;
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn what_axum_makes_with_connect_info_is_served() {
    let page = async |ConnectInfo(address): ConnectInfo<SocketAddr>| address.to_string();
    let app: Router = Router::new().route("/", get(page)).merge(app());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let serving = serve("127.0.0.1:0", PerConnection(app))
        .bind()
        .await
        .unwrap();
    let address = serving.local_addr().unwrap();
    let server = Server::other(address, async {
        serving.await.unwrap();
    });
    on_both(async |http| {
        let stream = TcpStream::connect(address).await.unwrap();
        let ours = stream.local_addr().unwrap().to_string();
        let page = match http {
            Http::One => {
                let mut peer = Peer::over(stream);
                peer.write(&Ask::plain(http, "/").bytes()).await;
                peer.answer().await
            }
            Http::Two => {
                Http2::connect(stream)
                    .await
                    .send(Ask::plain(http, "/"))
                    .await
            }
        };
        assert_eq!(page.text(), ours);
        let answer = Ask::handshake(http, "/echo").send(&server).await;
        echoes(answer.opened(http)).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connection_for_which_no_service_is_made_is_dropped() {
    let make = service_fn(async |()| Err::<Router, _>("as ordered"));
    let (pen, mut log) = Log::new();
    let (listener, dialer) = memory();
    let serving = serve(listener, PerConnection(make)).on_connection_end(move |report| {
        if let ConnectionEnd::Service(error) = &report.end {
            pen.write(error.to_string());
        }
    });
    tokio::spawn(serving.into_future());
    let mut peer = Peer::over(dialer.dial());
    within(peer.end()).await;
    assert_eq!(within(log.next()).await, "as ordered");
}
