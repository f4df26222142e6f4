//! Making a connection to a server.

use std::{fmt, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError, Subject, Subscriber,
};
use tokio::sync::mpsc;

use super::url::{Login, Server};
use crate::{cluster::backplane::BackplaneError, trust::Trust};

/// How to connect, besides the server.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) login: Option<Login>,
    pub(super) name: String,
    pub(super) trust: Trust,
    pub(super) require_tls: bool,
    pub(super) tls_first: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            login: None,
            name: env!("CARGO_PKG_NAME").to_owned(),
            trust: Trust::default(),
            require_tls: false,
            tls_first: false,
        }
    }
}

/// A connection, and the one beside it that answers.
///
/// `publish` of the client only queues, and it tells no round trip. So a question is put behind what was
/// published: a request that is answered on the second connection, by [`Answers`]. The server reads a
/// connection in order, so it has read all that came before. Without the second one "no responders" would
/// be an answer, too, but only until somebody looks on with a subscription to `>`: then there is a
/// receiver, who says nothing.
pub(super) struct Connection {
    pub(super) client: Client,
    /// What the server says besides, as long as there is room for it in the client's channel.
    pub(super) events: mpsc::Receiver<Event>,
    /// What comes back for questions: in order, each with its number behind the last full stop.
    pub(super) replies: Subscriber,
    /// What comes before that number.
    pub(super) inbox: String,
    /// Where questions go to.
    pub(super) question: Subject,
    pub(super) answers: Answers,
    /// Other servers that this one has named.
    pub(super) named: Vec<String>,
    pub(super) server: Arc<str>,
}

/// Answers the questions of the connection beside it.
pub(super) struct Answers {
    pub(super) client: Client,
    pub(super) questions: Subscriber,
}

impl Access {
    /// Connects to a server and logs in; `root` is what all subjects of the cluster begin with.
    pub(super) async fn connect(
        &self,
        server: &Server,
        root: &str,
    ) -> Result<Connection, BackplaneError> {
        // What a connection in vain has to say is in its error.
        let (said, events) = mpsc::channel(EVENTS);
        let inbox = format!("{root}!.inbox");
        let client = self.client(server, &inbox, said.clone()).await?;
        let info = client.server_info();
        if !info.headers {
            let words = format!(
                "{server}: NATS 2.2 or later is needed, not {}",
                info.version
            );
            return Err(BackplaneError::unsupported(words));
        }
        let beside = self.client(server, &inbox, said).await?;
        let broken =
            |error: &dyn fmt::Display| BackplaneError::connect(format!("{server}: {error}"));
        // Subscribing only queues, too: it fails where the connection is gone already.
        let inbox = client.new_inbox();
        let question = Subject::from(format!(
            "{root}!.yes{}",
            &inbox[inbox.rfind('.').unwrap_or(0)..]
        ));
        let questions = beside.subscribe(question.clone()).await;
        let replies = client.subscribe(format!("{inbox}.*")).await;
        Ok(Connection {
            events,
            replies: replies.map_err(|error| broken(&error))?,
            inbox,
            question,
            answers: Answers {
                client: beside,
                questions: questions.map_err(|error| broken(&error))?,
            },
            named: info.connect_urls,
            server: server.to_string().into(),
            client,
        })
    }

    async fn client(
        &self,
        server: &Server,
        inbox: &str,
        said: mpsc::Sender<Event>,
    ) -> Result<Client, BackplaneError> {
        let unmade = |error| BackplaneError::connect(format!("{server}: {error}"));
        let trust = self
            .trust
            .config(Vec::new())
            .await
            .map_err(|error| unmade(error.to_string()))?;
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .no_echo()
            .require_tls(self.require_tls)
            .tls_client_config(Arc::unwrap_or_clone(trust))
            .connection_timeout(CONNECT)
            .ping_interval(PING)
            .max_reconnects(1)
            .ignore_discovered_servers()
            // The core keeps the time of what is unanswered.
            .request_timeout(None)
            .custom_inbox_prefix(inbox)
            .skip_subject_validation(true)
            .subscription_capacity(UNREAD)
            .client_capacity(UNSENT)
            .event_callback(move |event| {
                let said = said.clone();
                // What overflows is counted by its number; it would only be in the way of what is refused.
                let is_wanted = matches!(event, Event::ServerError(_) | Event::LameDuckMode);
                async move {
                    if is_wanted {
                        // Nobody listens any more once the line is given up.
                        drop(said.send(event).await);
                    }
                }
            });
        if self.tls_first {
            options = options.tls_first();
        }
        let options = logging_in(options, server.login.as_ref().or(self.login.as_ref()));
        let client = options.connect(server.address.clone()).await;
        let client = client.map_err(|error| fault(server, &error))?;
        // A connection that breaks is not to be made anew by the client: what waits in it would be sent
        // late. Nothing listens on port 0, so it gives up at once.
        let set = client.set_server_pool(NOWHERE).await;
        set.map_err(|error| unmade(error.to_string()))?;
        Ok(client)
    }
}

fn logging_in(options: ConnectOptions, login: Option<&Login>) -> ConnectOptions {
    match login.cloned() {
        Some(Login::User { name, password }) => options.user_and_password(name, password),
        Some(Login::Token(token)) => options.token(token),
        None => options,
    }
}

/// Returns the error of a connection that could not be made.
fn fault(server: &Server, error: &ConnectError) -> BackplaneError {
    let words = format!("{server}: {error}");
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            BackplaneError::denied(words)
        }
        _ if is_about_login(error) => BackplaneError::denied(words),
        _ => BackplaneError::connect(words),
    }
}

/// Reports whether the server said that a login is wrong or too old.
fn is_about_login(error: &ConnectError) -> bool {
    let source = std::error::Error::source(error);
    let said = source.and_then(|source| source.downcast_ref());
    let Some(ServerError::Other(said)) = said else {
        return false;
    };
    said.to_ascii_lowercase().contains("authentication")
}

/// How long connecting to one address may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a silent server is asked whether it is there; the third time ends the connection.
const PING: Duration = Duration::from_secs(2);

/// How many messages of a topic may wait to be handed in; what is beyond it is missing, and counted.
const UNREAD: usize = 1024;

/// How many commands may wait for the connection: more than are ever unanswered, so that none waits.
const UNSENT: usize = 1 << 16;

/// How many events may wait.
const EVENTS: usize = 256;

/// Where nothing is.
const NOWHERE: &str = "nats://127.0.0.1:0";
