//! Making connections to servers.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Cmd, ProtocolVersion, RedisConnectionInfo, Value,
    aio::MultiplexedConnection,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{
    breath::Breath,
    fault,
    url::{Login, Server},
};
use crate::{
    cluster::backplane::BackplaneError,
    trust::{self, Trust},
};

/// What is needed to connect, besides the server.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) login: Login,
    pub(super) trust: Trust,
    /// Where keys are; channels belong to no database.
    pub(super) database: u32,
    /// How long connecting may take, with all that belongs to it.
    pub(super) limit: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            login: Login::default(),
            trust: Trust::default(),
            database: 0,
            limit: CONNECT,
        }
    }
}

/// A connection, and the future that reads and writes for it. Dropping the future closes it.
pub(super) struct Connection {
    pub(super) commands: MultiplexedConnection,
    pub(super) driver: Driver,
}

pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Access {
    /// Connects to a server and logs in.
    pub(super) async fn connect(
        &self,
        server: &Server,
        config: AsyncConnectionConfig,
        protocol: ProtocolVersion,
    ) -> Result<Connection, BackplaneError> {
        let unreached = |error: io::Error| BackplaneError::connect(fault::said(server, error));
        let connecting = async {
            let stream = reach(server, self.limit).await.map_err(unreached)?;
            if !server.tls {
                return self.log_in(server, stream, config, protocol).await;
            }
            let connector = self.trust.connector(Vec::new()).await.map_err(unreached)?;
            let name = trust::name(&server.host).map_err(unreached)?;
            let stream = connector.connect(name, stream).await.map_err(unreached)?;
            self.log_in(server, stream, config, protocol).await
        };
        let late = |_| unreached(io::ErrorKind::TimedOut.into());
        timeout(self.limit, connecting).await.map_err(late)?
    }

    async fn log_in(
        &self,
        server: &Server,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        config: AsyncConnectionConfig,
        protocol: ProtocolVersion,
    ) -> Result<Connection, BackplaneError> {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(protocol)
            .set_db(self.database.into())
            .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        if let Some(user) = &self.login.user {
            info = info.set_username(user);
        }
        // A user without a password logs in, too: `redis` would go on as the default one.
        let empty = self.login.user.as_ref().map(|_| "");
        if let Some(password) = self.login.password.as_deref().or(empty) {
            info = info.set_password(password);
        }
        // The core keeps the time of what is unanswered.
        let config = config
            .set_response_timeout(None)
            .set_pipeline_buffer_size(UNSENT);
        let connection =
            MultiplexedConnection::new_with_config(&info, Breath::new(stream), config).await;
        let (commands, driver) = connection.map_err(|error| fault::unmade(server, &error))?;
        Ok(Connection {
            commands,
            driver: Box::pin(driver),
        })
    }
}

impl Connection {
    /// Asks something, before anything else uses the connection: nobody else keeps the time yet.
    pub(super) async fn ask(
        &mut self,
        server: &Server,
        command: &Cmd,
    ) -> Result<Value, BackplaneError> {
        let asking = timeout(CONNECT, self.ask_patiently(server, command));
        let late = |_| BackplaneError::connect(fault::said(server, "it leaves a question open"));
        asking.await.map_err(late)?
    }

    async fn ask_patiently(
        &mut self,
        server: &Server,
        command: &Cmd,
    ) -> Result<Value, BackplaneError> {
        let mut asking = pin!(self.commands.send_packed_command(command));
        let answer = poll_fn(|cx| {
            let is_over = self.driver.as_mut().poll(cx).is_ready();
            match asking.as_mut().poll(cx) {
                Poll::Pending if is_over => Poll::Ready(None),
                answer => answer.map(Some),
            }
        });
        match answer.await {
            Some(Ok(Value::ServerError(error))) => Err(fault::refused(server, &error)),
            Some(answer) => answer.map_err(|error| fault::unmade(server, &error)),
            None => Err(BackplaneError::connect(fault::said(
                server,
                "it closed the connection",
            ))),
        }
    }

    /// Checks that the server is no replica: what is published there reaches nobody elsewhere.
    pub(super) async fn check_master(&mut self, server: &Server) -> Result<(), BackplaneError> {
        let mut command = Cmd::new();
        command.arg("HELLO");
        if is_replica(&self.ask(server, &command).await?) {
            let words = fault::said(server, "it is a replica, not a master");
            return Err(BackplaneError::connect(words));
        }
        Ok(())
    }
}

/// Reads the answer to `HELLO`.
fn is_replica(answer: &Value) -> bool {
    let Value::Map(fields) = answer else {
        return false;
    };
    let role = fields.iter().find(|(name, _)| text(name) == Some(b"role"));
    // Since 6.0 it says `replica`.
    role.and_then(|(_, role)| text(role))
        .is_some_and(|role| role != b"master")
}

/// Returns text, in whichever way the server sent it.
pub(super) fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(text) => Some(text),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// Makes a TCP connection to a server.
async fn reach(server: &Server, limit: Duration) -> io::Result<TcpStream> {
    let addresses: Vec<_> = lookup_host((&*server.host, server.port)).await?.collect();
    set_up(first_of(addresses, limit, TcpStream::connect).await?)
}

/// Connects to the first address that takes a connection.
async fn first_of<C, T>(
    addresses: Vec<SocketAddr>,
    limit: Duration,
    connect: impl Fn(SocketAddr) -> C,
) -> io::Result<T>
where
    C: Future<Output = io::Result<T>>,
{
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    // One that is silent leaves time for the others.
    let patience = limit / addresses.len().max(1) as u32;
    for address in addresses {
        match timeout(patience, connect(address)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

fn set_up(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// How long connecting may take, unless something else waits for it.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// After how long without traffic, and how often, the kernel asks whether the server is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How many commands may wait to be written: more than are ever unanswered, so that none waits.
const UNSENT: usize = 256;

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_leaves_time_for_the_others_within_any_limit() -> io::Result<()> {
        let addresses = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let connect = async |address: SocketAddr| match address.port() {
            3 => Ok(address.port()),
            _ => pending().await,
        };
        for limit in [Duration::from_secs(1), CONNECT] {
            let reached = timeout(limit, first_of(addresses.into(), limit, connect));
            assert_eq!(reached.await??, 3);
        }
        Ok(())
    }
}
