//! The way to a server: straight, or through a proxy.

use std::net::SocketAddr;

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connector::Reached,
    deadline::Deadline,
    error::ConnectError,
    phase::Phase,
    proxy::{Proxy, tunnel},
    proxy_error::ProxyError,
    request::Server,
    settings::Client,
};

/// A stream that leads to a server.
pub(super) struct Way {
    pub(super) stream: Reached,
    /// The server's address, where it is known.
    pub(super) peer: Option<SocketAddr>,
    /// There is TLS below already, where the URI wants it.
    pub(super) secured: bool,
}

impl Way {
    /// Takes a stream of the application.
    pub(super) fn over<T>(stream: T) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self {
            stream: Reached::of(Box::new(stream)),
            peer: None,
            secured: false,
        }
    }
}

impl Client {
    /// Returns the server, if TLS has to be done over a stream of the application.
    pub(super) fn to_secure(&self, uri: &Uri) -> Option<Server> {
        // What is wrong with a URI is found when the handshake is made of it.
        let server = Server::of(uri).ok();
        server.filter(|server| server.tls && !self.secured)
    }

    /// Makes a stream that leads to a server.
    pub(super) async fn reach(&self, server: &Server) -> Result<Way, ConnectError> {
        let deadline = Deadline::of(Phase::Connect, self.connect_timeout);
        let secured = self.secured && self.connector.is_own();
        if let Some(proxy) = self.proxies.of(server) {
            return self.pass_through(proxy, server, deadline).await;
        }
        let uri = server.http_uri(server.tls && secured)?;
        let connecting = self.connector.connect(uri);
        let connecting = async { connecting.await.map_err(ConnectError::Connect) };
        let stream = deadline.limit(connecting).await?;
        // Where a connector leads, it knows alone.
        let peer = stream.peer_addr().filter(|_| !self.connector.is_own());
        Ok(Way {
            stream,
            peer,
            secured,
        })
    }

    async fn pass_through(
        &self,
        proxy: &Proxy,
        server: &Server,
        deadline: Deadline,
    ) -> Result<Way, ConnectError> {
        let connecting = self.connector.connect(proxy.http_uri()?);
        let connecting = async {
            let stream = connecting.await.map_err(ProxyError::Connect);
            stream.map_err(ConnectError::Proxy)
        };
        let stream = deadline.limit(connecting).await?.boxed();
        let deadline = deadline.then(Phase::Proxy);
        let asking = tunnel(proxy, stream, server, &self.trust, deadline.until());
        let asking = async { asking.await.map_err(ConnectError::Proxy) };
        let stream = deadline.limit(asking).await?;
        Ok(Way {
            stream: Reached::of(stream),
            peer: None,
            secured: false,
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn reached(client: Client) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let uri = format!("wss://{address}/").parse().unwrap();
        let way = client.reach(&Server::of(&uri).unwrap()).await.unwrap();
        assert_eq!(way.peer, Some(address));
        let Reached::Tcp(stream) = way.stream else {
            panic!("it is no TCP");
        };
        stream
    }

    #[tokio::test]
    async fn connections_are_configured() {
        let stream = reached(Client::new()).await;
        assert!(stream.nodelay().unwrap());
        let socket = SockRef::from(&stream);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 128 << 10);
        assert!(!socket.keepalive().unwrap());
    }

    #[tokio::test]
    async fn connections_are_probed_where_that_is_wanted() {
        let minute = Duration::from_secs(60);
        let stream = reached(Client::new().tcp_keepalive(minute)).await;
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), minute);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), minute);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        let less = Client::new().tcp_keepalive(Duration::from_millis(999));
        let stream = reached(less).await;
        assert!(!SockRef::from(&stream).keepalive().unwrap());
    }
}
