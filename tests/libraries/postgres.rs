//! PostgreSQL: rows of a table, for the members of rooms.
//!
//! It takes `POSTGRES` with what says where a database is, such as `host=127.0.0.1 port=5433 user=postgres`: the test makes
//! a schema of its own there. Where it is not set, the test says that it is skipped.

#[path = "programs/postgres.rs"]
#[expect(dead_code, reason = "its `main` is for those who run it")]
mod program;

use std::{
    env,
    io::{self, Write},
    sync::Arc,
};

use axum::Router;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_postgres::{Client, NoTls};
use tower_websocket::{
    Config, Error, Sender, WebSocket, WebSocketLayer, client::HttpVersion, handler,
};

use crate::support::{Server, VERSIONS, within};

/// A schema of the database, which is empty.
struct Database {
    url: String,
    client: Client,
}

impl Database {
    async fn new(schema: &str) -> Option<Self> {
        let Ok(url) = env::var("POSTGRES") else {
            // Not by `println`, which a test that passes is not heard with. On a line of its own, for `.ci/run`.
            let _unheard = writeln!(
                io::stdout(),
                "\nNOT RUN: PostgreSQL (POSTGRES does not say where it is)"
            );
            return None;
        };
        // What its connections find first, and have as their names.
        let url = format!("{url} application_name={schema} options='-c search_path={schema}'");
        let client = connect(&url).await;
        let fresh = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema};");
        client.batch_execute(&fresh).await.unwrap();
        client.batch_execute(program::SCHEMA).await.unwrap();
        Some(Self { url, client })
    }

    async fn insert(&self, room: &str, body: &str) {
        insert(&self.client, room, body).await;
    }

    /// Ends the connections of all others, as a restart would.
    async fn break_off(&self) {
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()";
        let ended = self.client.query(others, &[]).await.unwrap();
        assert!(!ended.is_empty());
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = within(tokio_postgres::connect(url, NoTls)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn insert(client: &Client, room: &str, body: &str) {
    let row = "INSERT INTO notification (room, body) VALUES ($1, $2)";
    client.execute(row, &[&room, &body]).await.unwrap();
}

/// A process: a feed, and a server.
struct Node {
    feed: Arc<program::Feed>,
    server: Server,
    url: String,
    listening: JoinHandle<()>,
}

impl Node {
    async fn start(database: &Database) -> Self {
        let feed = Arc::new(program::Feed::default());
        let server = Server::serve(program::app(&feed)).await;
        let url = database.url.clone();
        let listening = listen(&feed, &url);
        let node = Self {
            feed,
            server,
            url,
            listening,
        };
        // Once a client is a member, the process listens.
        loop {
            let mut client = node.connect("ready", HttpVersion::Http1).await;
            if within(client.recv()).await.unwrap().is_some() {
                return node;
            }
        }
    }

    async fn connect(&self, target: &str, version: HttpVersion) -> WebSocket {
        let config = Config::default();
        self.server.connect_to(target, version, config).await
    }

    /// Waits until it has lost its connection, and listens again.
    async fn loses(&mut self, meanwhile: impl Future<Output = ()>) {
        within(&mut self.listening).await.unwrap();
        meanwhile.await;
        self.goes_on();
    }

    /// Has it send no more, while it still answers clients.
    async fn stands_still(&mut self) {
        self.listening.abort();
        let aborted = within(&mut self.listening).await;
        assert!(aborted.unwrap_err().is_cancelled());
    }

    fn goes_on(&mut self) {
        self.listening = listen(&self.feed, &self.url);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

fn listen(feed: &Arc<program::Feed>, url: &str) -> JoinHandle<()> {
    let (feed, url) = (feed.clone(), url.to_owned());
    tokio::spawn(async move {
        let _ended = feed.listen(&url).await;
    })
}

/// A sender, and the client that gets what it sends.
async fn connected() -> (Sender, WebSocket, Server) {
    let (senders, mut connected) = mpsc::unbounded_channel();
    let run = handler(move |mut socket: WebSocket| {
        senders.send(socket.sender()).unwrap();
        async move {
            while socket.recv().await?.is_some() {}
            Ok::<_, Error>(())
        }
    });
    let app = WebSocketLayer::new(run).endpoint();
    let server = Server::serve(Router::new().route_service("/", app)).await;
    let client = server.connect(HttpVersion::Http1, &[]).await;
    let sender = within(connected.recv()).await.unwrap();
    (sender, client, server)
}

/// The next message, as its id and its text.
async fn next(client: &mut WebSocket) -> (i64, Option<String>) {
    let message = within(client.recv()).await.unwrap().unwrap();
    let value: serde_json::Value = serde_json::from_slice(message.as_ref()).unwrap();
    let body = value.get("body").map(|body| body.as_str().unwrap().into());
    (value["id"].as_i64().unwrap(), body)
}

fn row(id: i64, body: &str) -> (i64, Option<String>) {
    (id, Some(body.into()))
}

#[tokio::test]
async fn members_on_every_node_get_the_rows_of_their_room() {
    let Some(database) = Database::new("tw_members").await else {
        return;
    };
    let nodes = [Node::start(&database).await, Node::start(&database).await];
    let mut clients = Vec::new();
    for (node, version) in nodes.iter().zip(VERSIONS) {
        let mut client = node.connect("a", version).await;
        assert_eq!(next(&mut client).await, (0, None));
        clients.push(client);
    }
    database.insert("a", "first").await;
    database.insert("b", "for others").await;
    database.insert("a", "third").await;
    for client in &mut clients {
        assert_eq!(next(client).await, row(1, "first"));
        assert_eq!(next(client).await, row(3, "third"));
    }
}

#[tokio::test]
async fn nothing_is_lost_while_the_database_is_away_and_nothing_comes_twice() {
    let Some(database) = Database::new("tw_away").await else {
        return;
    };
    let mut node = Node::start(&database).await;
    let mut client = node.connect("a", HttpVersion::Http1).await;
    assert_eq!(next(&mut client).await, (0, None));
    database.insert("a", "before").await;
    assert_eq!(next(&mut client).await, row(1, "before"));
    database.break_off().await;
    node.loses(async {
        database.insert("a", "meanwhile").await;
    })
    .await;
    database.insert("a", "after").await;
    assert_eq!(next(&mut client).await, row(2, "meanwhile"));
    assert_eq!(next(&mut client).await, row(3, "after"));
}

#[tokio::test]
async fn client_that_comes_back_gets_what_it_has_missed_once() {
    let Some(database) = Database::new("tw_back").await else {
        return;
    };
    let node = Node::start(&database).await;
    for number in 1..=2500 {
        database.insert("a", &number.to_string()).await;
    }
    for version in VERSIONS {
        let mut client = node.connect("a?since=3", version).await;
        for number in 4..=2500 {
            assert_eq!(next(&mut client).await, row(number, &number.to_string()));
        }
        assert_eq!(next(&mut client).await, (2500, None));
    }
}

#[tokio::test]
async fn client_of_a_node_that_is_behind_keeps_its_id() {
    let Some(database) = Database::new("tw_behind").await else {
        return;
    };
    let ahead = Node::start(&database).await;
    let mut behind = Node::start(&database).await;
    behind.stands_still().await;
    let mut client = ahead.connect("a", HttpVersion::Http1).await;
    assert_eq!(next(&mut client).await, (0, None));
    database.insert("a", "first").await;
    database.insert("a", "second").await;
    assert_eq!(next(&mut client).await, row(1, "first"));
    assert_eq!(next(&mut client).await, row(2, "second"));
    for version in VERSIONS {
        let mut client = behind.connect("a?since=2", version).await;
        assert_eq!(next(&mut client).await, (2, None));
    }
    let mut client = behind.connect("a?since=1", HttpVersion::Http1).await;
    assert_eq!(next(&mut client).await, (1, None));
    behind.goes_on();
    database.insert("a", "third").await;
    // What it has comes again, and a client drops it by the id.
    assert_eq!(next(&mut client).await, row(1, "first"));
    assert_eq!(next(&mut client).await, row(2, "second"));
    assert_eq!(next(&mut client).await, row(3, "third"));
}

#[tokio::test]
async fn client_is_not_admitted_while_it_may_miss_more_than_one_query_has() {
    let Some(database) = Database::new("tw_admitted").await else {
        return;
    };
    let node = Node::start(&database).await;
    let rows = "INSERT INTO notification (room, body)
        SELECT 'a', number::text FROM generate_series(1, 1001) number";
    database.client.execute(rows, &[]).await.unwrap();
    // The node has sent them once a client is told so.
    while next(&mut node.connect("b", HttpVersion::Http1).await).await != (1001, None) {}
    let (sender, mut client, _server) = connected().await;
    for since in [0, 1] {
        let admitted = node.feed.admit("a", Some(since), &sender).await.unwrap();
        assert!(admitted.is_none(), "{since}");
    }
    let _membership = node
        .feed
        .admit("a", Some(2), &sender)
        .await
        .unwrap()
        .unwrap();
    for number in 3..=1001 {
        assert_eq!(next(&mut client).await, row(number, &number.to_string()));
    }
    assert_eq!(next(&mut client).await, (1001, None));
}

#[tokio::test]
async fn rows_become_visible_in_the_order_of_their_ids() {
    let Some(database) = Database::new("tw_order").await else {
        return;
    };
    let other = connect(&database.url).await;
    other.batch_execute("BEGIN").await.unwrap();
    insert(&other, "a", "first").await;
    // Another writer would have to wait now: it could have the next id, and commit before.
    let free = "SELECT pg_try_advisory_lock(7041)";
    let free: bool = database.client.query_one(free, &[]).await.unwrap().get(0);
    assert!(!free);
    other.batch_execute("COMMIT").await.unwrap();
    database.insert("a", "second").await;
    let ids = "SELECT id FROM notification ORDER BY id";
    let ids = database.client.query(ids, &[]).await.unwrap();
    assert_eq!(
        Vec::from_iter(ids.iter().map(|row| row.get::<_, i64>(0))),
        [1, 2]
    );
}
