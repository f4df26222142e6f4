//! The rows of a table of PostgreSQL, for the members of rooms: `ws://127.0.0.1:8080/ROOM?since=ID`.
//!
//! The first argument says where the database is: `host=127.0.0.1 user=chat dbname=chat`.

use std::{env, error::Error, future::poll_fn, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Path, Query, State},
    response::Response,
    routing::any,
};
use serde::Deserialize;
use tokio::{
    sync::{RwLock, watch},
    time::sleep,
};
use tokio_postgres::{
    AsyncMessage, Client, Connection, NoTls, Row, Socket, tls::NoTlsStream, types::ToSql,
};
use tower_websocket::{
    CloseCode, CloseFrame, Groups, Sender, WebSocket, extract::WebSocketUpgrade,
    groups::Membership, serve,
};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The table, and what says that it has new rows.
///
/// The lock has writers commit in the order of their ids: otherwise a row could become visible after one with a higher
/// id was read, and be passed over.
pub(crate) const SCHEMA: &str = "
SELECT pg_advisory_xact_lock(7042); -- nodes that start together
CREATE TABLE IF NOT EXISTS notification (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, room text NOT NULL, body text NOT NULL);
CREATE INDEX IF NOT EXISTS notification_room ON notification (room, id);
CREATE OR REPLACE FUNCTION notification_order() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(7041); RETURN NULL; END $$;
CREATE OR REPLACE FUNCTION notification_wake() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_notify('notification', ''); RETURN NULL; END $$;
CREATE OR REPLACE TRIGGER notification_order BEFORE INSERT ON notification
    FOR EACH STATEMENT EXECUTE FUNCTION notification_order();
CREATE OR REPLACE TRIGGER notification_wake AFTER INSERT ON notification
    FOR EACH STATEMENT EXECUTE FUNCTION notification_wake();
";

/// A row as clients get it, for all rooms and for one.
const NEW: &str =
    "SELECT id, room, json_build_object('id', id, 'body', body)::text FROM notification
    WHERE id > $1 ORDER BY id LIMIT $2";
const MISSED: &str =
    "SELECT id, room, json_build_object('id', id, 'body', body)::text FROM notification
    WHERE room = $1 AND id > $2 AND id <= $3 ORDER BY id LIMIT $4";
/// How many of them one query asks for.
const LIMIT: i64 = 1000;

/// What a process has of the table: one connection, and how far its rooms are.
#[derive(Default)]
pub(crate) struct Feed {
    rooms: Groups,
    position: RwLock<Position>,
}

#[derive(Clone, Default)]
struct Position {
    /// `None` while the database is away.
    client: Option<Arc<Client>>,
    /// The id of the last row that was sent to the rooms; `None` before the first connection.
    sent: Option<i64>,
}

impl Feed {
    /// Sends new rows to the rooms until the connection to the database ends, and returns why.
    pub(crate) async fn listen(&self, database: &str) -> Result<()> {
        let ended = self.follow(database).await;
        self.position.write().await.client = None; // clients that come now are sent away
        ended
    }

    async fn follow(&self, database: &str) -> Result<()> {
        let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
        let (wake, mut woken) = watch::channel(());
        tokio::spawn(drive(connection, wake));
        // First this, and then a look at the table: so nothing is missed between the two.
        client.batch_execute("LISTEN notification").await?;
        self.start(client).await?;
        loop {
            while self.send_new().await? {}
            if woken.changed().await.is_err() {
                return Err("the connection has ended".into());
            }
        }
    }

    /// Begins with the rows that are to come, or goes on where an earlier connection has ended.
    async fn start(&self, client: Client) -> Result<()> {
        let mut position = self.position.write().await;
        if position.sent.is_none() {
            let last = "SELECT coalesce(max(id), 0) FROM notification";
            position.sent = client.query_one(last, &[]).await?.get(0);
        }
        position.client = Some(Arc::new(client));
        Ok(())
    }

    /// Sends some of the rows that are new, and reports whether there were any.
    async fn send_new(&self) -> Result<bool> {
        let mut position = self.position.write().await;
        let client = position.client()?;
        let rows = client.query(NEW, &[&position.sent, &LIMIT]).await?;
        for row in &rows {
            self.rooms.broadcast(row.get::<_, &str>(1), text(row)).await; // waits for no client
            position.sent = Some(row.get(0));
        }
        Ok(!rows.is_empty())
    }

    /// Sends what a client has missed, and makes it a member.
    async fn join(&self, room: String, since: Option<i64>, sender: &Sender) -> Result<Membership> {
        let mut since = since;
        loop {
            // What is much may take the client long: nothing waits for it here.
            while let Some(last) = since {
                let position = self.position.read().await.clone();
                let rows = position.missed(&room, last).await?;
                for row in &rows {
                    sender.send(text(row)).await?;
                    since = Some(row.get(0));
                }
                if rows.is_empty() {
                    break;
                }
            }
            if let Some(membership) = self.admit(&room, since, sender).await? {
                return Ok(membership);
            }
        }
    }

    /// Makes a client a member and sends the rest, or returns `None` if that is more than one query has.
    pub(crate) async fn admit(
        &self,
        room: &str,
        since: Option<i64>,
        sender: &Sender,
    ) -> Result<Option<Membership>> {
        // No row is sent to the rooms from here on until the client is a member.
        let position = self.position.read().await;
        let sent = position.sent()?;
        if let Some(last) = since {
            let rows = position.missed(room, last).await?;
            if rows.len() as i64 == LIMIT {
                return Ok(None); // there may be more
            }
            for row in &rows {
                sender.try_send(text(row))?;
            }
        }
        // It has all up to there: more than this node has sent if it comes from one that was ahead.
        let upto = since.map_or(sent, |last| last.max(sent));
        sender.try_send(format!(r#"{{"id":{upto}}}"#))?;
        Ok(Some(self.rooms.join(room.to_owned(), sender)?))
    }
}

impl Position {
    fn client(&self) -> Result<&Client> {
        Ok(self.client.as_deref().ok_or_else(away)?)
    }

    /// Returns how far the rooms are while rows are being sent to them.
    fn sent(&self) -> Result<i64> {
        self.client()?;
        Ok(self.sent.ok_or_else(away)?)
    }

    async fn missed(&self, room: &str, since: i64) -> Result<Vec<Row>> {
        let arguments: [&(dyn ToSql + Sync); 4] = [&room, &since, &self.sent()?, &LIMIT];
        Ok(self.client()?.query(MISSED, &arguments).await?)
    }
}

/// Has the client come back later.
fn away() -> CloseFrame {
    CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "the database is away")
}

fn text(row: &Row) -> String {
    row.get(2)
}

/// Runs the connection, and wakes the feed when the table has new rows.
async fn drive(mut connection: Connection<Socket, NoTlsStream>, wake: watch::Sender<()>) {
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notification(_) = message {
            wake.send_replace(());
        }
    }
}

#[derive(Deserialize)]
struct Since {
    since: Option<i64>,
}

async fn enter(
    ws: WebSocketUpgrade,
    Path(room): Path<String>,
    Query(Since { since }): Query<Since>,
    State(feed): State<Arc<Feed>>,
) -> Response {
    ws.on_upgrade(async move |mut socket: WebSocket| -> Result<()> {
        let _membership = feed.join(room, since, &socket.sender()).await?;
        while socket.recv().await?.is_some() {}
        Ok(())
    })
}

pub(crate) fn app(feed: &Arc<Feed>) -> Router {
    Router::new()
        .route("/{room}", any(enter))
        .with_state(feed.clone())
}

#[tokio::main]
async fn main() -> Result<()> {
    let database = env::args().nth(1).ok_or("where is the database?")?;
    let (client, connection) = tokio_postgres::connect(&database, NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(SCHEMA).await?;
    drop(client);
    let feed = Arc::new(Feed::default());
    let server = serve("127.0.0.1:8080", app(&feed));
    tokio::spawn(async move {
        loop {
            if let Err(error) = feed.listen(&database).await {
                eprintln!("the database: {error}");
            }
            sleep(Duration::from_millis(500)).await; // with many nodes: a random time
        }
    });
    server.await?;
    Ok(())
}
