//! NATS as the engine of a cluster.

// - `url`, `servers`: where the servers are, and which is tried next;
// - `connect`: a connection to one of them, by `async-nats`;
// - `serve`: what is done on it; `questions`: what the server has not answered; `topics`: what is subscribed;
//   `bells`: which of them have something;
// - `subject`: how topics are spelled; `refusal`: what a server does not permit.

use std::{pin::Pin, sync::Arc};

use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::{
    backplane::{BackplaneError, Promises},
    engine::Backplane,
    line::Line,
};
use crate::trust::Trust;

mod bells;
mod connect;
mod questions;
mod refusal;
mod serve;
mod servers;
mod subject;
mod topics;
mod url;

pub use self::url::NatsUrlError;
use self::{
    connect::Access,
    servers::Servers,
    url::{Login, Server},
};

/// NATS as the engine of a [`Cluster`](super::Cluster): core NATS, 2.2 or later, one server or several.
///
/// Each node has two connections to one of the servers. A topic is spelled as the subject
/// `shop.1.rooms.lobby`; in a key, bytes other than letters, digits, `-` and `_` become `=` and two
/// hexadecimal digits, and an empty key is `=`. Nothing outside `shop.1.>` is published or subscribed to, so a
/// user of the cluster `shop` needs these rights and no others:
///
/// ```text
/// permissions: { publish: ["shop.1.>"], subscribe: ["shop.1.>"] }
/// ```
///
/// - A subscription takes about 5 KB of this process's memory: that of a topic with a member here.
/// - A message that is larger than `max_payload` of the server (1 MiB by default), with 32 bytes beside
///   its own, is [rejected](super::PublishError::Rejected), and the connection stays.
/// - Subscriptions beyond `max_subscriptions`, of a server, account or user, are
///   [denied](super::ClusterEvent::Denied), and tried again every 30 seconds; the others go on.
///   The node itself needs three of them.
/// - If more than 96 messages are refused at once, for want of a right, all that were on their way with them
///   count as [rejected](super::PublishError::Rejected), since it is not known which of them were.
/// - A server that stops answering is noticed 3 seconds after the next message or heartbeat, as with every engine.
/// - If a server stops gracefully ("lame duck mode") and there are others, the node connects to one of those.
/// - Credentials files, with a JWT, are not supported.
///
/// # Examples
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_websocket::{
///     Groups,
///     cluster::{Cluster, Nats},
/// };
///
/// let nats = Nats::new("nats://10.0.0.1, nats://10.0.0.2")?.user_and_password("chat", "s3cret");
/// let cluster = Cluster::start("shop", nats);
/// let rooms: Groups = Groups::builder().cluster(&cluster, "rooms").build();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Nats {
    servers: Servers,
    access: Access,
}

impl Nats {
    /// Creates an engine from the URLs of one server or more, with commas between them.
    ///
    /// A URL is `nats://user:password@host:4222`, or `tls://host` to insist on TLS. Without a scheme it is `nats://`, without
    /// a port the port is 4222. A text without a `:` before the `@` is a token. Characters other than letters and digits are
    /// percent-encoded in a user, password or token. Any of the servers
    /// is tried first, and after a break the next one. Servers that they name are tried as well, behind these.
    ///
    /// Nothing is connected to yet: see [`Cluster::connected`](super::Cluster::connected).
    ///
    /// ```
    /// use tower_websocket::cluster::{Nats, NatsUrlError};
    ///
    /// assert!(Nats::new("nats://10.0.0.1, tls://10.0.0.2").is_ok());
    /// assert!(matches!(Nats::new("http://10.0.0.1"), Err(NatsUrlError::Scheme)));
    /// ```
    ///
    /// # Errors
    ///
    /// A URL is wrong, or there is none.
    pub fn new(urls: &str) -> Result<Self, NatsUrlError> {
        let servers = Server::parse_all(urls)?;
        // Any is as good as another, if there are no random numbers.
        let chance = getrandom::u32().unwrap_or_default();
        Ok(Self {
            servers: Servers::new(servers, chance),
            access: Access::default(),
        })
    }

    /// Sets the user and the password for servers whose URLs have none.
    ///
    /// Default: neither.
    #[must_use]
    pub fn user_and_password(
        mut self,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.access.login = Some(Login::User {
            name: user.into(),
            password: password.into(),
        });
        self
    }

    /// Sets the token for servers whose URLs have none.
    ///
    /// Default: none.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.access.login = Some(Login::Token(token.into()));
        self
    }

    /// Sets the name of the connections, as servers list it.
    ///
    /// Default: `tower-websocket`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.access.name = name.into();
        self
    }

    /// Requires TLS for all servers, as `tls://` does for one.
    ///
    /// Default: what the URLs say, and the servers ask for.
    #[must_use]
    pub fn require_tls(mut self) -> Self {
        self.access.require_tls = true;
        self
    }

    /// Starts with TLS before the server has said anything, for servers with `handshake_first`.
    ///
    /// Default: disabled.
    #[must_use]
    pub fn tls_first(mut self) -> Self {
        self.access.tls_first = true;
        self
    }

    /// Trusts servers with certificates from these roots.
    ///
    /// Default: those that the platform trusts. TLS uses the process's default `CryptoProvider` of rustls, or ring if there
    /// is none and the feature `ring` is enabled, as it is by default.
    ///
    /// The client reads the platform's certificates all the same for each connection with TLS, and the thread
    /// waits for it. If one of their files cannot be read, for example in `SSL_CERT_DIR`, there is no connection.
    /// That holds with [`tls`](Self::tls) as well.
    #[must_use]
    pub fn roots(mut self, roots: impl Into<Arc<RootCertStore>>) -> Self {
        self.access.trust = Trust::roots(roots);
        self
    }

    /// Sets the TLS configuration, for client certificates and more.
    #[must_use]
    pub fn tls(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.access.trust = Trust::Given(config.into());
        self
    }

    /// Tries all servers in turn, and serves the line on the first connection.
    async fn run_once(&self, line: &mut Line) -> Result<(), BackplaneError> {
        let root = subject::root(&line.own_topic());
        let mut error = None;
        for server in self.servers.in_turn() {
            match self.access.connect(&server, &root).await {
                Ok(connection) => {
                    self.servers.connected(&server, &connection.named);
                    let result = serve::serve(line, connection, self.servers.has_others()).await;
                    self.servers.lost(&server);
                    return result;
                }
                Err(failed) => {
                    // What does not pass by itself is said rather than what may.
                    let lasts =
                        |error: &BackplaneError| error.is_denied() || error.is_unsupported();
                    error = Some(error.filter(lasts).unwrap_or(failed));
                }
            }
        }
        Err(error.unwrap_or_else(|| BackplaneError::connect("there is no server")))
    }
}

impl Backplane for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn promises(&self) -> Promises {
        Promises {
            ordered: true,
            confirms: true,
            ..Promises::default()
        }
    }

    fn run<'a>(
        &'a self,
        line: &'a mut Line,
    ) -> Pin<Box<dyn Future<Output = Result<(), BackplaneError>> + Send + 'a>> {
        Box::pin(self.run_once(line))
    }
}
