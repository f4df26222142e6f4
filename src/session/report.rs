//! One report per session.

use std::{sync::Arc, time::Duration};

use super::{data::Data, id::ConnectionId, info::ConnectionInfo, traffic::Traffic};
use crate::protocol::{CloseFrame, Rtt};

/// How a session ended, and what it carried.
///
/// ```
/// use tower_websocket::{WebSocket, WebSocketLayer, session::EndedBy};
///
/// # async fn chat(_: WebSocket) {}
/// let layer = WebSocketLayer::from_fn(chat).on_end(|report| {
///     if !report.clean && report.ended_by != EndedBy::Disconnect {
///         eprintln!("{:?} with {} after {:?}", report.ended_by, report.close_code, report.duration);
///     }
///     println!("{} in, {} out", report.bytes_received, report.bytes_sent);
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionReport {
    /// The connection's number, if it is registered in [`Connections`](crate::Connections).
    pub id: Option<ConnectionId>,
    /// The side or the event that ended the session.
    pub ended_by: EndedBy,
    /// The first Close frame of the two, unless it was empty or there was none.
    pub close_frame: Option<CloseFrame>,
    /// The code of the first Close frame of the two.
    ///
    /// It is 1005 if that frame had no code, and 1006 if there was no Close frame at all.
    pub close_code: u16,
    /// Whether the closing handshake was completed: a Close frame has come, and ours was written.
    pub clean: bool,
    /// The time from the end of the opening handshake to the end of the transport.
    pub duration: Duration,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes received, as they came: compressed, with headers and control frames.
    pub bytes_received: u64,
    /// Messages sent, or at least queued.
    pub messages_sent: u64,
    /// Bytes of payload sent, or at least queued, before compression.
    pub bytes_sent: u64,
    /// The round-trip time, if a timed ping was answered.
    pub rtt: Option<Rtt>,
    /// Whether compression was agreed on (permessage-deflate, RFC 7692).
    pub compressed: bool,
    /// What the connection has kept, where that is anything.
    pub(super) kept: Option<Box<Kept>>,
}

/// What a connection has kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) info: Option<Arc<ConnectionInfo>>,
    pub(super) data: Data,
}

impl SessionReport {
    /// Makes the report of a connection of which nothing was read but where frames begin.
    #[cfg_attr(
        not(feature = "client"),
        expect(dead_code, reason = "gateways have such")
    )]
    pub(super) fn spliced(
        id: Option<ConnectionId>,
        (ended_by, close): (EndedBy, Option<Option<CloseFrame>>),
        clean: bool,
        duration: Duration,
        traffic: Traffic,
    ) -> Self {
        let without_code = if close.is_some() { 1005 } else { 1006 };
        let close_frame = close.flatten();
        let code = close_frame.as_ref().map(|frame| frame.code().as_u16());
        Self {
            id,
            ended_by,
            close_code: code.unwrap_or(without_code),
            close_frame,
            clean,
            duration,
            messages_received: traffic.messages_received,
            bytes_received: traffic.bytes_received,
            messages_sent: traffic.messages_sent,
            bytes_sent: traffic.bytes_sent,
            rtt: None,
            compressed: false,
            kept: None,
        }
    }

    /// Returns what was known of the connection, if that was kept, as
    /// [`WebSocket::info`](crate::WebSocket::info).
    #[must_use]
    pub fn info(&self) -> Option<&ConnectionInfo> {
        self.kept.as_ref()?.info.as_deref()
    }

    /// Returns what the application has kept of this type with the connection, as
    /// [`WebSocket::data`](crate::WebSocket::data).
    ///
    /// ```
    /// use tower_websocket::session::SessionReport;
    ///
    /// struct User(String);
    ///
    /// fn ended(report: &SessionReport) {
    ///     let user = report.data::<User>();
    ///     let name = user.as_ref().map_or("nobody", |user| &user.0);
    ///     println!("{name} has gone after {:?}, with {}", report.duration, report.close_code);
    /// }
    /// ```
    #[must_use]
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.kept.as_ref()?.data.get()
    }
}

/// The side or the event that ended a session.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EndedBy {
    /// The peer sent the first Close frame.
    Peer,
    /// This endpoint sent the first Close frame, of its own accord.
    Local,
    /// The peer broke the protocol or a limit.
    Violation,
    /// A deadline passed.
    Timeout,
    /// The transport ended or failed without a Close frame.
    Disconnect,
    /// The [`MemoryBudget`](crate::MemoryBudget) was used up, and the connection was closed for it.
    ///
    /// It was among those that held most, or could not be read for 10 seconds.
    OverBudget,
}
