//! How the kernel finds clients that are gone.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// What is set for each TCP connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TcpOptions {
    pub(super) keepalive: Option<Duration>,
    pub(super) user_timeout: Option<Duration>,
}

impl TcpOptions {
    /// Sets what there is to set. One that has failed already is noticed later.
    pub(super) fn set(&self, stream: &TcpStream) {
        let socket = SockRef::from(stream);
        let keepalive = self
            .keepalive
            .map(|idle| TcpKeepalive::new().with_time(idle.clamp(LEAST_IDLE, MOST_IDLE)));
        let keepalive = keepalive.map_or(Ok(()), |keepalive| socket.set_tcp_keepalive(&keepalive));
        let user_timeout = self
            .user_timeout
            .map_or(Ok(()), |limit| set_user_timeout(&socket, limit));
        if let Err(error) = keepalive.and(user_timeout) {
            tracing::debug!(%error, "an option of a socket could not be set");
        }
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn set_user_timeout(socket: &SockRef<'_>, limit: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(limit))
}

/// There is no such option here.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn set_user_timeout(_: &SockRef<'_>, _: Duration) -> io::Result<()> {
    Ok(())
}

/// What Linux takes: with less or more, the system's own time would stay.
const LEAST_IDLE: Duration = Duration::from_secs(1);
const MOST_IDLE: Duration = Duration::from_secs(32_767);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use tokio::net::TcpListener;

    use super::{super::listener::Listener, *};

    #[tokio::test]
    async fn what_is_set_is_set_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let stream = <TcpListener as Listener>::tcp(&stream).unwrap();
        let socket = SockRef::from(stream);
        TcpOptions::default().set(stream);
        assert!(!socket.keepalive().unwrap());
        TcpOptions {
            keepalive: Some(Duration::from_secs(77)),
            user_timeout: Some(Duration::from_millis(12_345)),
        }
        .set(stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(told(&socket), Some([77_000, 12_345]));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn keepalive_that_no_kernel_takes_is_the_nearest_that_it_does() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (idle, set) in [(Duration::ZERO, LEAST_IDLE), (Duration::MAX, MOST_IDLE)] {
            let stream = TcpStream::connect(address).await.unwrap();
            let keepalive = Some(idle);
            let user_timeout = None;
            TcpOptions {
                keepalive,
                user_timeout,
            }
            .set(&stream);
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap(), "{idle:?}");
            assert_eq!(socket.tcp_keepalive_time().unwrap(), set);
        }
    }

    #[cfg(target_os = "linux")]
    fn told(socket: &SockRef<'_>) -> Option<[u128; 2]> {
        let user_timeout = socket.tcp_user_timeout().unwrap().unwrap();
        let idle = socket.tcp_keepalive_time().unwrap();
        Some([idle.as_millis(), user_timeout.as_millis()])
    }

    #[cfg(not(target_os = "linux"))]
    fn told(_: &SockRef<'_>) -> Option<[u128; 2]> {
        Some([77_000, 12_345])
    }
}
