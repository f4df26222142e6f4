//! What callbacks there are, and what is promised of them.

use std::future::Future;

use bytes::Bytes;
use http::request::Parts;

use crate::{
    error::Error,
    protocol::{CloseCode, CloseFrame, Utf8Bytes},
    session::Sender,
};

/// A connection's life as callbacks, each with a default.
///
/// The defaults do nothing, except those of [`on_text`](Self::on_text) and
/// [`on_binary`](Self::on_binary): data of a kind without a callback closes the connection with code
/// 1003. Implementations may write callbacks as `async fn`.
///
/// # Order
///
/// Callbacks of one connection run one after the other, in the order of what happened:
/// [`on_open`](Self::on_open) first, and each when the one before it has returned. What arrived before
/// the end is reported before the end. After a [`close`](Sender::close) of this endpoint that is not so:
/// messages that have arrived and were not reported are discarded, and of what arrives later only control frames
/// are reported.
///
/// # The end
///
/// The very last callback is [`on_end`](Self::on_end), once and in every case. Before it comes at most one of
/// `on_close` and `on_error`:
///
/// | the connection ends by | before `on_end` |
/// |---|---|
/// | a Close of the peer | `on_close` with its frame, once its Close was answered |
/// | a Close of this endpoint, also of [`Connections::drain`](crate::Connections::drain) or one for [`idle_timeout`](crate::Config::idle_timeout), [`first_message_timeout`](crate::Config::first_message_timeout) or [`max_lifetime`](crate::Config::max_lifetime) | `on_close` with the frame that the peer answers; `None` if it disconnects instead |
/// | the same, and the peer does neither within [`close_timeout`](crate::Config::close_timeout) | `on_error` with [`Error::Timeout`] |
/// | data without a callback | as a Close of this endpoint |
/// | a violation of the protocol or of a limit | `on_error` with [`Error::Protocol`] |
/// | any other deadline | `on_error` with [`Error::Timeout`] |
/// | the peer's disconnect, without a Close | `on_error` with [`Error::Io`] |
/// | more held in memory than the [`MemoryBudget`](crate::MemoryBudget) has room for | `on_error` with [`Error::OverBudget`] |
/// | [`Sender::abort`], also at the deadline of a drain | neither: a callback that runs is dropped while it waits |
/// | a panic of a callback | neither: the peer gets code 1011 |
/// | the end of the runtime | neither |
///
/// What an implementation holds lives as long as its connection: a
/// [`Membership`](crate::groups::Membership) in it leaves its group however the connection ends. It is dropped
/// right after `on_end`. Each connection has an implementation of its own:
/// [`event_handler`](super::event_handler) clones one for each connection,
/// [`event_handler_with`](super::event_handler_with) makes each by a function.
///
/// ```
/// use tower_websocket::{
///     service::{event_handler, EventHandler}, Sender, Utf8Bytes, WebSocketLayer,
/// };
///
/// #[derive(Clone, Default)]
/// struct Shout {
///     count: usize,
/// }
///
/// impl EventHandler for Shout {
///     async fn on_text(&mut self, socket: &Sender, text: Utf8Bytes) {
///         self.count += 1;
///         let _gone = socket.send(format!("{}: {}", self.count, text.to_uppercase())).await;
///     }
/// }
///
/// let layer = WebSocketLayer::new(event_handler(Shout::default()));
/// ```
pub trait EventHandler: Send {
    /// Runs when the connection is open; `head` is that of the request that opened it.
    fn on_open(&mut self, socket: &Sender, head: &Parts) -> impl Future<Output = ()> + Send {
        let _ = (socket, head);
        async {}
    }

    /// Runs when text was received.
    fn on_text(&mut self, socket: &Sender, text: Utf8Bytes) -> impl Future<Output = ()> + Send {
        let _ = text;
        close_unsupported(socket)
    }

    /// Runs when binary data was received.
    fn on_binary(&mut self, socket: &Sender, payload: Bytes) -> impl Future<Output = ()> + Send {
        let _ = payload;
        close_unsupported(socket)
    }

    /// Runs when a ping was received.
    ///
    /// The ping is answered already, unless [`Config::auto_pong`](crate::Config::auto_pong) is disabled.
    fn on_ping(&mut self, socket: &Sender, payload: Bytes) -> impl Future<Output = ()> + Send {
        let _ = (socket, payload);
        async {}
    }

    /// Runs when a pong was received.
    fn on_pong(&mut self, socket: &Sender, payload: Bytes) -> impl Future<Output = ()> + Send {
        let _ = (socket, payload);
        async {}
    }

    /// Runs when the connection was closed by either side; see [the end](Self#the-end).
    ///
    /// `frame` is the peer's: its Close, or its answer to that of this endpoint. It is `None` if it
    /// had no code, or if the peer disconnected instead of answering. Nothing can be sent any longer.
    fn on_close(
        &mut self,
        socket: &Sender,
        frame: Option<CloseFrame>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (socket, frame);
        async {}
    }

    /// Runs when the connection failed; see [the end](Self#the-end).
    ///
    /// Nothing can be sent any longer.
    fn on_error(&mut self, socket: &Sender, error: Error) -> impl Future<Output = ()> + Send {
        let _ = (socket, error);
        async {}
    }

    /// Runs once, as the very last callback, however the connection ended.
    ///
    /// It also runs after an [`abort`](Sender::abort) and after a panic of another callback. Nothing can be sent any longer.
    /// It runs even if no other callback has run, because the runtime
    /// ended before or [`on_open`](Self::on_open) panicked. Only a process that ends without dropping its
    /// runtime leaves it out.
    ///
    /// It is no `async fn`, as it also runs when a handler is dropped, and should not
    /// block: spawn what has to wait with `tokio::spawn`; it is lost if the runtime ends. A panic in it is
    /// logged, and has no other effect.
    fn on_end(&mut self, socket: &Sender) {
        let _ = socket;
    }
}

/// Closes on a kind of data that has no callback.
fn close_unsupported(socket: &Sender) -> impl Future<Output = ()> + Send + use<> {
    socket.close(CloseCode::UNSUPPORTED_DATA);
    async {}
}
