//! Connections that break.

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::JoinSet,
};
use tower_websocket::cluster::{ClusterEvent, Nats};

use crate::{
    node::{Node, within},
    server::{NatsServer, free_port},
};

#[tokio::test]
async fn killed_server_is_noticed_and_found_again() {
    let Some(mut server) = NatsServer::start("") else {
        return;
    };
    let (mut a, mut b) = (
        Node::connected(&server.url()).await,
        Node::connected(&server.url()).await,
    );
    let mut there = b.member(b"lobby").await;
    a.up().await;
    b.up().await;
    server.kill();
    let down = a.down().await;
    assert!(
        down.words
            .starts_with("the connection to the engine broke: 127.0.0.1:"),
        "{down:?}"
    );
    b.down().await;
    server.start_again();
    a.up().await;
    b.up().await;
    a.send(b"lobby", "again").await.unwrap();
    assert_eq!(there.hears().await, "again");
}

#[tokio::test]
async fn stopped_server_is_noticed_and_its_subscriptions_leave_nothing_behind() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let mut node = Node::connected(&server.url()).await;
    node.up().await;
    let without = tasks();
    let members = node.members(500).await;
    let before = tasks();
    // Two for each member's ends in memory, and none for a topic.
    assert_eq!(before, without + 1000);
    server.signal("STOP");
    node.rooms.broadcast(&b"lobby"[..], "hello?").await;
    let down = node.down().await;
    assert!(down.words.starts_with("the engine is silent"), "{down:?}");
    // The client does not know yet that the connection is of no more use: it ends with what is subscribed.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(
        tasks() <= before - 4,
        "{} tasks, and {before} before",
        tasks()
    );
    server.signal("CONT");
    node.up().await;
    let again = async {
        while tasks() != before {
            tokio::task::yield_now().await;
        }
    };
    within("as many tasks as before", again).await;
    drop(members);
}

/// Returns how many tasks there are.
fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// What stands between a node and a server, and can cut connections.
struct Proxy {
    listener: TcpListener,
    to: u16,
}

impl Proxy {
    async fn new(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, to }
    }

    fn url(&self) -> String {
        format!("nats://{}", self.listener.local_addr().unwrap())
    }

    /// Passes on connections until it is dropped.
    async fn pass(&self, connections: &mut JoinSet<()>) {
        loop {
            let (mut client, _) = self.listener.accept().await.unwrap();
            let mut server = TcpStream::connect(("127.0.0.1", self.to)).await.unwrap();
            connections.spawn(async move {
                drop(copy_bidirectional(&mut client, &mut server).await);
            });
        }
    }
}

#[tokio::test]
async fn cut_connection_loses_nothing_that_was_sent_and_doubles_nothing() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let proxy = Proxy::new(server.port).await;
    let mut connections = JoinSet::new();
    let b = Node::connected(&server.url()).await;
    let mut there = b.member(b"lobby").await;
    let mut a = Node::start(Nats::new(&proxy.url()).unwrap());
    let mut sent = 0;
    for _ in 0..5 {
        tokio::select! {
            () = proxy.pass(&mut connections) => {}
            () = async {
                a.up().await;
                for _ in 0..2000 {
                    a.rooms.broadcast(&b"lobby"[..], sent.to_string()).await;
                    sent += 1;
                }
                // Some of it is on its way.
                tokio::task::yield_now().await;
            } => {}
        }
        connections.shutdown().await;
    }
    tokio::select! {
        () = proxy.pass(&mut connections) => {}
        () = async {
            a.up().await;
            a.send(b"lobby", "last").await.unwrap();
        } => {}
    }
    for number in 0..sent {
        assert_eq!(there.hears().await, number.to_string());
    }
    assert_eq!(there.hears().await, "last");
    let counters = b.cluster.counters();
    assert_eq!(counters.lost, 0);
    assert_eq!(a.cluster.counters().reconnects, 5);
}

#[tokio::test]
async fn connection_is_made_by_nobody_but_the_cluster() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let proxy = Proxy::new(server.port).await;
    let mut connections = JoinSet::new();
    let mut node = Node::start(Nats::new(&proxy.url()).unwrap());
    for _ in 0..5 {
        tokio::select! {
            () = proxy.pass(&mut connections) => {}
            () = node.up() => {}
        }
        assert_eq!(
            connections.len(),
            2,
            "one that publishes and subscribes, and one that answers"
        );
        connections.shutdown().await;
    }
}

#[tokio::test]
async fn no_task_is_left_by_a_connection_that_ended() {
    let Some(mut server) = NatsServer::start("") else {
        return;
    };
    let mut node = Node::connected(&server.url()).await;
    node.up().await;
    let before = tasks();
    let _members = node.members(500).await;
    // Two for each member's ends in memory, and none for a topic.
    assert_eq!(tasks(), before + 1000);
    let with_members = tasks();
    server.kill();
    node.down().await;
    // Those of two connections of the client, each with one for its events.
    let fewer = async {
        while tasks() > with_members - 4 {
            tokio::task::yield_now().await;
        }
    };
    within("all tasks of the connection end", fewer).await;
    server.start_again();
    node.up().await;
    let again = async {
        while tasks() != with_members {
            tokio::task::yield_now().await;
        }
    };
    within("as many tasks as before", again).await;
}

#[tokio::test]
async fn node_that_leaves_says_so_and_leaves_nothing_behind() {
    let Some(server) = NatsServer::start("") else {
        return;
    };
    let before = tasks();
    let mut b = Node::connected(&server.url()).await;
    let a = Node::connected(&server.url()).await;
    let id = a.cluster.id();
    let joined = |event| match event {
        ClusterEvent::NodeJoined(node) => Some(node),
        _ => None,
    };
    assert_eq!(b.event(joined).await, id);
    for number in 0..100 {
        a.rooms.broadcast(&b"lobby"[..], number.to_string()).await;
    }
    a.cluster.leave().await;
    let left = |event| match event {
        ClusterEvent::NodeLeft(node) => Some(node),
        _ => None,
    };
    assert_eq!(b.event(left).await, id);
    let counters = a.cluster.counters();
    assert_eq!(
        (counters.published, counters.confirmed),
        (100, 100),
        "{counters:?}"
    );
    b.cluster.leave().await;
    drop((a, b));
    let gone = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    within("all tasks end", gone).await;
}

/// Starts two servers that know each other.
fn two_servers() -> Option<[NatsServer; 2]> {
    let ports = [free_port(), free_port()];
    let settings = |own: u16, other: u16| {
        format!(
            "cluster {{ name: two, listen: \"127.0.0.1:{own}\", routes: [\"nats://127.0.0.1:{other}\"] }}"
        )
    };
    let first = NatsServer::start(&settings(ports[0], ports[1]))?;
    let second = NatsServer::start(&settings(ports[1], ports[0]))?;
    Some([first, second])
}

#[tokio::test]
async fn server_that_another_one_named_is_used_when_that_one_is_gone() {
    let Some([mut first, second]) = two_servers() else {
        return;
    };
    let b = Node::connected(&second.url()).await;
    let mut there = b.member(b"lobby").await;
    first.wait_until_it_names(second.port);
    let mut a = Node::connected(&first.url()).await;
    a.up().await;
    first.kill();
    a.down().await;
    a.up().await;
    a.send(b"lobby", "by the other").await.unwrap();
    assert_eq!(there.hears().await, "by the other");
}

#[tokio::test]
async fn server_that_stops_in_peace_is_left_for_another() {
    let Some([first, second]) = two_servers() else {
        return;
    };
    first.wait_until_it_names(second.port);
    let mut a = Node::connected(&first.url()).await;
    a.up().await;
    // "Lame duck mode": clients are to go, and are cut off some time later.
    first.signal("USR2");
    let down = a.down().await;
    assert!(down.words.contains("about to stop"), "{down:?}");
    a.up().await;
    a.send(b"lobby", "by the other").await.unwrap();
}
