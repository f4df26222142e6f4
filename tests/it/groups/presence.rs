//! Who is there, what the application knows of them, and members that are moved out.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{any, post},
};
use futures_util::StreamExt;
use tower_websocket::{
    CloseCode, Config, Groups, WebSocket, WebSocketLayer,
    groups::{GroupEvent, JoinError},
    handler, testing,
};

use super::at_once;
use crate::{
    crowd::{Kept, until},
    session::support::{Frame, SHAPES, hold, idle},
    support::{
        http::{Ask, Server},
        on_both,
    },
};

/// Neither to be cloned nor to be compared.
struct User {
    name: &'static str,
    _kept: Option<std::sync::Arc<()>>,
}

fn user(name: &'static str) -> User {
    User { name, _kept: None }
}

fn names(rooms: &Groups<String, User>, room: &str) -> Vec<&'static str> {
    let present = rooms.presence(room).into_iter();
    present.map(|(_, user)| user.name).collect()
}

#[tokio::test(start_paused = true)]
async fn presence_has_the_data_of_members_in_the_order_they_joined() {
    for shape in SHAPES {
        let rooms: Groups<String, User> = Groups::default();
        let (mut peer, ann, _reports) = hold(shape, Config::default()).await;
        let (_client, bob) = testing::pair(Config::default());
        let (_other_client, nobody) = testing::pair(Config::default());
        let room = || "room".to_owned();
        let ann_here = rooms.join_as(room(), &ann.sender(), user("Ann")).unwrap();
        let _nobody_here = rooms.join(room(), &nobody.sender()).unwrap();
        let _bob_here = rooms.join_as(room(), &bob.sender(), user("Bob")).unwrap();
        let _bob_there = rooms
            .join_as("other".to_owned(), &bob.sender(), user("Robert"))
            .unwrap();
        assert_eq!(names(&rooms, "room"), ["Ann", "Bob"]);
        assert_eq!(names(&rooms, "other"), ["Robert"]);
        assert_eq!(names(&rooms, "nowhere"), [""; 0]);
        // Without data it is a member all the same.
        assert_eq!(rooms.member_count("room"), 3);
        let (sender, _) = rooms.presence("room").remove(0);
        assert!(sender.same_connection(&ann.sender()));
        sender.send("found").await.unwrap();
        assert_eq!(peer.frame().await, Frame::text("found"));
        drop(ann_here);
        assert_eq!(names(&rooms, "room"), ["Bob"]);
        drop(bob);
        idle().await;
        assert_eq!(names(&rooms, "room"), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn data_is_gone_with_its_member_and_where_it_did_not_join() {
    let rooms: Groups<String, User> = Groups::default();
    let (value, kept) = Kept::new();
    let (_client, server) = testing::pair(Config::default());
    let join = || {
        let user = User {
            name: "Ann",
            _kept: Some(value.clone()),
        };
        rooms.join_as("room".to_owned(), &server.sender(), user)
    };
    let membership = join().unwrap();
    assert_eq!(join().unwrap_err(), JoinError::AlreadyMember);
    let events = rooms.events();
    drop(membership);
    drop(value);
    // Of an event that waits, it is still known.
    assert_eq!(kept.count(), 1);
    drop(events);
    assert_eq!(kept.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn events_tell_of_members_by_their_data_and_their_connection() {
    for shape in SHAPES {
        let rooms: Groups<String, User> = Groups::default();
        let mut events = rooms.events();
        let (peer, socket, reports) = hold(shape, Config::default()).await;
        let sender = socket.sender();
        let membership = rooms
            .join_as("room".to_owned(), &sender, user("Ann"))
            .unwrap();
        let created = events.next().await.unwrap();
        assert_eq!(created, GroupEvent::Created("room".to_owned()));
        let Some(GroupEvent::Joined(room, joined)) = events.next().await else {
            panic!("she has joined");
        };
        assert_eq!(
            (room.as_str(), joined.data().unwrap().name),
            ("room", "Ann")
        );
        assert!(joined.sender().unwrap().same_connection(&sender));
        assert_eq!(joined.id(), None);
        drop((peer, membership, sender, socket));
        reports.only().await;
        let Some(GroupEvent::Left(_, left)) = events.next().await else {
            panic!("she has left");
        };
        // The event keeps nothing of the connection, but who it was.
        assert!(left.sender().is_none() && joined.sender().is_none());
        assert_eq!(left, joined);
        assert_eq!(left.data().unwrap().name, "Ann");
        let last = events.next().await.unwrap();
        assert_eq!(last, GroupEvent::Destroyed("room".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn member_that_is_removed_stays_connected_and_may_join_again() {
    for shape in SHAPES {
        let rooms: Groups<u8> = Groups::builder().max_groups_per_connection(1).build();
        let (mut peer, socket, _reports) = hold(shape, Config::default()).await;
        let (_client, stranger) = testing::pair(Config::default());
        let sender = socket.sender();
        let first = rooms.join(0, &sender).unwrap();
        assert!(!rooms.remove(&0, &stranger.sender()));
        assert!(!rooms.remove(&1, &sender));
        assert_eq!(at_once(rooms.broadcast(&0, "before")).sent, 1);
        assert!(rooms.remove(&0, &sender));
        assert!(!rooms.remove(&0, &sender));
        assert!(rooms.is_empty());
        assert_eq!(at_once(rooms.broadcast(&0, "nobody")).sent, 0);
        // It counts among its groups no more.
        let again = rooms.join(0, &sender).unwrap();
        drop(first);
        assert_eq!(
            rooms.member_count(&0),
            1,
            "the old membership has no effect"
        );
        assert_eq!(at_once(rooms.broadcast(&0, "after")).sent, 1);
        assert_eq!(peer.frame().await, Frame::text("before"));
        assert_eq!(peer.frame().await, Frame::text("after"));
        drop(again);
        assert!(rooms.is_empty());
    }
}

#[derive(Clone, Default)]
struct App {
    rooms: Groups<String, String>,
}

async fn visit(mut socket: WebSocket, name: String, app: App) {
    let membership = app
        .rooms
        .join_as("lobby".to_owned(), &socket.sender(), name.clone())
        .unwrap();
    let _membership = membership.on_leave(format!("{name} has left"));
    socket.send("welcome").await.unwrap();
    while let Ok(Some(_)) = socket.recv().await {}
}

/// An administrator's request: moves all of that name out of the lobby, and closes their connections.
async fn kick(State(app): State<App>, Path(name): Path<String>) -> StatusCode {
    let mut present = app.rooms.presence("lobby");
    present.retain(|(_, who)| **who == name);
    let mut kicked = 0;
    for (sender, _) in present {
        kicked += usize::from(app.rooms.remove("lobby", &sender));
        sender.close((CloseCode::new(4001).unwrap(), "kicked"));
    }
    match kicked {
        0 => StatusCode::NOT_FOUND,
        _ => StatusCode::NO_CONTENT,
    }
}

#[tokio::test]
async fn administrator_moves_somebody_out_by_a_plain_request() {
    on_both(async |http| {
        let app = App::default();
        let own = app.clone();
        let visits = move |name: &'static str| {
            let own = own.clone();
            let visit = handler(move |socket| visit(socket, name.to_owned(), own.clone()));
            any(async || "a page").layer(WebSocketLayer::new(visit))
        };
        let router = Router::new()
            .route("/ann", visits("Ann"))
            .route("/bob", visits("Bob"))
            .route("/kick/{name}", post(kick))
            .with_state(app.clone());
        let server = Server::start(router).await;
        let mut ann = Ask::handshake(http, "/ann")
            .send(&server)
            .await
            .opened(http);
        assert_eq!(ann.frame().await, Some((0x1, "welcome".into())));
        let mut bob = Ask::handshake(http, "/bob")
            .send(&server)
            .await
            .opened(http);
        assert_eq!(bob.frame().await, Some((0x1, "welcome".into())));
        let asked = Ask::plain(http, "/kick/Bob")
            .method("POST")
            .send(&server)
            .await;
        assert_eq!(asked.status, StatusCode::NO_CONTENT);
        // They know before the closing handshake is over.
        assert_eq!(ann.frame().await, Some((0x1, "Bob has left".into())));
        assert_eq!(bob.closed().await, (4001, "kicked".to_owned()));
        let again = Ask::plain(http, "/kick/Bob")
            .method("POST")
            .send(&server)
            .await;
        assert_eq!(again.status, StatusCode::NOT_FOUND);
        let present: Vec<_> = app.rooms.presence("lobby");
        assert_eq!(present.len(), 1);
        drop(ann);
        until(|| app.rooms.is_empty()).await;
    })
    .await;
}
