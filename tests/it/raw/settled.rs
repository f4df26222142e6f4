//! What the handshake has settled, and what does not fit.

use http::{HeaderMap, Uri, Version, header};
use tokio::io::{AsyncReadExt, duplex};
use tower_websocket::{
    Compression, Config, Message, WebSocket,
    handshake::{
        Negotiated,
        deflate::{self, Agreement},
        extensions,
    },
    protocol::Role,
    session::{OpenError, SessionBuilder},
};

use super::{agreed, both, pipe};
use crate::{
    session::support::within,
    support::{Http, close, echoes, on_both},
};

fn compressing(settings: Compression) -> Config {
    Config::default().compression(settings.threshold(0))
}

#[tokio::test]
async fn both_sides_have_what_was_negotiated() {
    on_both(async |http| {
        for settings in [
            Compression::shared(),
            Compression::dedicated().max_window_bits(10),
        ] {
            let config = compressing(settings).subprotocols(["b", "a"]);
            let (client, server) = agreed(http, &config, &config);
            let views = [Negotiated::from(client), Negotiated::from(server)];
            let roles = [Role::Client, Role::Server];
            let (here, there) = duplex(4 << 10);
            let mut sockets = Vec::new();
            for ((stream, view), role) in [here, there].into_iter().zip(views).zip(roles) {
                assert_eq!((view.role(), view.version()), (role, http.version()));
                assert_eq!(view.subprotocol(), Some("b"));
                assert!(view.deflate().is_some());
                let session = WebSocket::over(stream, role).config(config.clone());
                sockets.push(session.negotiated(view).spawn().unwrap());
            }
            let [mut client, mut server] = sockets.try_into().unwrap();
            for socket in [&client, &server] {
                assert!(socket.is_compressed());
                assert_eq!(socket.subprotocol(), Some("b"));
            }
            // With takeover it refers to what came before.
            for size in [10, 5000, 5000, 40_000] {
                let text = "compressed ".repeat(size / 11 + 1);
                client.send(text.as_str()).await.unwrap();
                assert_eq!(server.recv().await.unwrap(), Some(text.as_str().into()));
                server.send(Message::from(text.as_str())).await.unwrap();
                assert_eq!(client.recv().await.unwrap(), Some(text.into()));
            }
            drop(client);
            assert_eq!(server.recv().await.unwrap(), None);
        }
    })
    .await;
}

#[tokio::test]
async fn connection_knows_what_it_was_told_of_its_peer() {
    let (ours, theirs) = duplex(4 << 10);
    let uri: Uri = "/chat/lobby?token=secret".parse().unwrap();
    let peer = "192.0.2.1:5000".parse().unwrap();
    let session = WebSocket::over(ours, Role::Server)
        .uri(&uri)
        .peer_addr(peer);
    let socket = session
        .version(Version::HTTP_2)
        .subprotocol("chat")
        .spawn()
        .unwrap();
    let info = socket.info().unwrap();
    assert_eq!((info.peer_addr(), info.path()), (Some(peer), "/chat/lobby"));
    assert_eq!(
        (info.version(), info.subprotocol()),
        (Version::HTTP_2, Some("chat"))
    );
    assert!(!info.is_compressed() && info.path_params().iter().next().is_none());
    let only_path = WebSocket::over(theirs, Role::Client)
        .uri(&uri)
        .spawn()
        .unwrap();
    assert_eq!(only_path.info().unwrap().path(), "/chat/lobby");
    assert_eq!(only_path.peer_addr(), None);
}

/// A session of this endpoint over a pipe, whose other end has to see nothing but its end where that is an error.
async fn fails(role: Role, change: impl FnOnce(SessionBuilder) -> SessionBuilder) -> OpenError {
    let (ours, mut peer) = pipe();
    let error = change(WebSocket::over(ours, role)).spawn().unwrap_err();
    let mut rest = Vec::new();
    let read = within(peer.stream.read_to_end(&mut rest)).await;
    assert_eq!(
        read.unwrap(),
        0,
        "nothing was written, and the stream is dropped"
    );
    error
}

#[tokio::test]
async fn view_of_the_other_endpoint_is_an_error() {
    on_both(async |http| {
        for config in [Config::default(), compressing(Compression::shared())] {
            let (client, server) = agreed(http, &config, &config);
            let error = fails(Role::Server, |session| {
                session.config(config.clone()).negotiated(client)
            });
            assert_eq!(error.await, OpenError::Role(Role::Client));
            let error = fails(Role::Client, |session| {
                session.config(config.clone()).negotiated(server)
            });
            assert_eq!(error.await, OpenError::Role(Role::Server));
        }
        // The agreement alone says whose it is, too.
        let config = compressing(Compression::shared());
        let (mut client, _) = agreed(http, &config, &config);
        let agreement = client.take_deflate();
        assert!(agreement.is_some() && client.deflate().is_none());
        let error = fails(Role::Server, |session| {
            session.config(config).deflate(agreement)
        });
        assert_eq!(error.await, OpenError::Role(Role::Client));
    })
    .await;
}

/// What this endpoint agrees on with a peer that has `theirs`.
fn agreement(role: Role, ours: &Compression, theirs: &Compression) -> Agreement {
    let (client, server) = match role {
        Role::Client => (ours, theirs),
        Role::Server => (theirs, ours),
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, deflate::offer(client));
    let offers = extensions::parse(&headers).unwrap();
    let accepted = deflate::accept(&offers, server).unwrap();
    if role == Role::Server {
        return accepted;
    }
    headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, accepted.header_value());
    let answer = extensions::parse(&headers).unwrap();
    deflate::agree(&answer, Some(client)).unwrap().unwrap()
}

#[tokio::test]
async fn compression_that_the_session_does_not_have_is_an_error() {
    let (wide, narrow) = (
        Compression::dedicated(),
        Compression::dedicated().max_window_bits(9),
    );
    for role in both() {
        let agreed_on = agreement(role, &wide, &wide);
        assert_eq!(agreed_on.role(), role);
        let error = fails(role, |session| session.deflate(agreed_on)).await;
        assert_eq!(error, OpenError::CompressionOff);

        let agreed_on = agreement(role, &wide, &wide);
        let config = Config::default().compression(narrow.clone());
        let error = fails(role, |session| session.config(config).deflate(agreed_on)).await;
        assert_eq!(error, OpenError::WindowTooLarge { bits: 15, limit: 9 });

        let agreed_on = agreement(role, &wide, &wide);
        let config = Config::default().compression(Compression::shared());
        let error = fails(role, |session| session.config(config).deflate(agreed_on)).await;
        assert_eq!(error, OpenError::ContextTakeover);
    }
    // A server's window is what its client takes; a client cannot always be limited (RFC 7692 §7.1.2.2).
    let strict = Config::default().compression(Compression::dedicated().peer_max_window_bits(9));
    let agreed_on = agreement(Role::Client, &wide, &wide);
    let config = strict.clone();
    let error = fails(Role::Client, |session| {
        session.config(config).deflate(agreed_on)
    })
    .await;
    assert_eq!(error, OpenError::WindowTooLarge { bits: 15, limit: 9 });
    let (ours, _peer) = pipe();
    let session = WebSocket::over(ours, Role::Server).config(strict);
    let opened = session
        .deflate(agreement(Role::Server, &wide, &wide))
        .spawn();
    assert!(opened.is_ok(), "{opened:?}");
}

#[tokio::test]
async fn subprotocol_that_is_no_token_is_an_error() {
    for name in ["", "a b", "a,b", "\u{e4}", "a\r\nx: y"] {
        let error = fails(Role::Server, |session| session.subprotocol(name)).await;
        assert_eq!(error, OpenError::Subprotocol, "{name:?}");
    }
    let (ours, _peer) = pipe();
    let session = WebSocket::over(ours, Role::Client).subprotocol("a");
    let socket = session.subprotocol(None).spawn().unwrap();
    assert_eq!(socket.subprotocol(), None);
}

#[test]
fn errors_say_what_was_wrong_in_words() {
    for (error, words) in [
        (OpenError::Role(Role::Client), "is to be a server's"),
        (OpenError::Role(Role::Server), "is to be a client's"),
        (OpenError::CompressionOff, "configuration has none"),
        (
            OpenError::WindowTooLarge { bits: 15, limit: 9 },
            "15 bits was agreed on, and the session's configuration allows 9",
        ),
        (OpenError::ContextTakeover, "shared compression"),
        (OpenError::Subprotocol, "not a token"),
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// An answer that is made after the agreement was taken must not promise it.
#[tokio::test]
async fn agreement_that_was_taken_is_not_in_a_later_answer() {
    let config = compressing(Compression::shared());
    let (_, mut server) = agreed(Http::One, &config, &config);
    let headers = |server: &tower_websocket::handshake::server::Accepted| {
        let response = server.response();
        response
            .headers()
            .contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
    };
    assert!(headers(&server));
    let agreement = server.take_deflate().unwrap();
    assert!(!headers(&server) && server.deflate().is_none());
    // It is enough for a session by itself.
    let (ours, theirs) = duplex(4 << 10);
    let session = WebSocket::over(ours, Role::Server).config(config.clone());
    let server = tokio::spawn(super::serve(session.deflate(agreement).spawn().unwrap()));
    let (mut client, _) = agreed(Http::One, &config, &config);
    let session = WebSocket::over(theirs, Role::Client).config(config);
    let mut client = session.deflate(client.take_deflate()).spawn().unwrap();
    within(echoes(&mut client, "hello")).await;
    within(close(client)).await;
    within(server).await.unwrap();
}
