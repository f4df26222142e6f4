//! How much of what was written waits in the kernel to be sent.

use socket2::SockRef;
use tokio::net::TcpStream;

/// What is known of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KernelQueue {
    /// As much as the kernel likes.
    Unbounded,
    /// About [`UNSENT`].
    Bounded,
    /// That cannot be said.
    Unknown,
}

impl KernelQueue {
    /// Has the kernel keep little that it has not sent, if it can be told.
    pub(super) fn bound(stream: &TcpStream) -> Self {
        if set_notsent_lowat(stream, UNSENT) {
            Self::Bounded
        } else {
            Self::Unknown
        }
    }
}

/// Has the kernel call a socket writable only while it holds less than half of so many bytes that it
/// has not sent, and take no more than these; reports whether it does.
#[cfg(any(target_os = "android", target_os = "linux"))]
pub(crate) fn set_notsent_lowat(stream: &TcpStream, bytes: u32) -> bool {
    SockRef::from(stream).set_tcp_notsent_lowat(bytes).is_ok()
}

/// There is no such option here, or no safe way to it.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(crate) fn set_notsent_lowat(_: &TcpStream, _: u32) -> bool {
    false
}

/// How much of what a session writes may wait in the kernel to be sent, in bytes: less costs an echo of
/// 1 MiB a sixth.
const UNSENT: u32 = 1 << 20;

/// The same for what many streams, or pings of HTTP/2, wait behind: 9 seconds of the slowest line.
#[cfg(any(feature = "client", feature = "serve"))]
pub(crate) const UNSENT_SHARED: u32 = 128 << 10;
