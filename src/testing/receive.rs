//! Receiving what a test expects, or an error that says what came instead.

use std::{error::Error as StdError, fmt, future::Future, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use crate::{
    error::Error,
    protocol::{CloseFrame, Message, Utf8Bytes},
    session::{WebSocket, handle::Receiver},
};

/// Receives one thing that a test expects, from a [`WebSocket`] or a [`Receiver`].
///
/// Anything else is an error, and so is nothing for a minute (of tokio's clock): then a test
/// fails and says why, instead of waiting forever. Use `recv` for what takes longer. All methods
/// are cancel-safe: what was not returned is received by the next call.
///
/// ```
/// use tower_websocket::{CloseCode, Config, testing::{self, WebSocketExt}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut client, server) = testing::pair(Config::default());
/// server.send("hello").await?;
/// server.send(vec![1, 2, 3]).await?;
/// server.close((CloseCode::NORMAL, "bye"));
///
/// assert_eq!(client.recv_text().await?, "hello");
/// assert_eq!(client.recv_binary().await?[..], [1, 2, 3]);
/// assert_eq!(client.recv_close().await?, (CloseCode::NORMAL, "bye").into());
/// # Ok(())
/// # }
/// ```
pub trait WebSocketExt: sealed::Receive {
    /// Receives a text message.
    ///
    /// # Errors
    ///
    /// The [`ReceiveError`] that says what came instead.
    fn recv_text(&mut self) -> impl Future<Output = Result<Utf8Bytes, ReceiveError>> + Send {
        async {
            match within_a_minute(self.next_message()).await? {
                Some(Message::Text(text)) => Ok(text),
                Some(Message::Binary(data)) => Err(ReceiveError::Binary(data)),
                None => Err(ReceiveError::Closed(self.close_frame())),
            }
        }
    }

    /// Receives a binary message.
    ///
    /// # Errors
    ///
    /// The [`ReceiveError`] that says what came instead.
    fn recv_binary(&mut self) -> impl Future<Output = Result<Bytes, ReceiveError>> + Send {
        async {
            match within_a_minute(self.next_message()).await? {
                Some(Message::Binary(data)) => Ok(data),
                Some(Message::Text(text)) => Err(ReceiveError::Text(text)),
                None => Err(ReceiveError::Closed(self.close_frame())),
            }
        }
    }

    /// Receives the peer's Close frame, behind which nothing comes.
    ///
    /// # Errors
    ///
    /// The [`ReceiveError`] that says what came instead; a Close frame without a code is
    /// [`ReceiveError::Closed`].
    fn recv_close(&mut self) -> impl Future<Output = Result<CloseFrame, ReceiveError>> + Send {
        async {
            match within_a_minute(self.next_message()).await? {
                Some(Message::Text(text)) => Err(ReceiveError::Text(text)),
                Some(Message::Binary(data)) => Err(ReceiveError::Binary(data)),
                None => self.close_frame().ok_or(ReceiveError::Closed(None)),
            }
        }
    }
}

impl WebSocketExt for WebSocket {}
impl WebSocketExt for Receiver {}

mod sealed {
    use super::*;

    /// What has messages.
    #[expect(unnameable_types, reason = "nobody else implements it")]
    pub trait Receive: Send {
        fn next_message(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> + Send;
        fn close_frame(&self) -> Option<CloseFrame>;
    }

    impl Receive for WebSocket {
        fn next_message(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> + Send {
            self.recv()
        }

        fn close_frame(&self) -> Option<CloseFrame> {
            self.received_close()
        }
    }

    impl Receive for Receiver {
        fn next_message(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> + Send {
            self.recv()
        }

        fn close_frame(&self) -> Option<CloseFrame> {
            self.received_close()
        }
    }
}

async fn within_a_minute(
    message: impl Future<Output = Result<Option<Message>, Error>>,
) -> Result<Option<Message>, ReceiveError> {
    let message = timeout(MINUTE, message).await;
    let message = message.map_err(|_| ReceiveError::Nothing)?;
    message.map_err(ReceiveError::Failed)
}

/// What came instead of what a method of [`WebSocketExt`] was to receive.
///
/// ```
/// use tower_websocket::{Config, testing::{self, ReceiveError, WebSocketExt}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_websocket::Error> {
/// let (mut client, server) = testing::pair(Config::default());
/// server.send("not bytes").await?;
/// drop(server);
/// assert!(matches!(client.recv_binary().await, Err(ReceiveError::Text(text)) if text == "not bytes"));
/// assert!(matches!(client.recv_text().await, Err(ReceiveError::Closed(Some(_)))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// The end of the connection, with the peer's Close frame if it had a code.
    Closed(Option<CloseFrame>),
    /// An end of the connection that is not clean.
    Failed(Error),
    /// Nothing, for a minute.
    Nothing,
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => match text.char_indices().nth(SHOWN) {
                None => write!(f, "a text came: {text:?}"),
                Some((end, _)) => {
                    write!(
                        f,
                        "a text of {} bytes came: {:?}…",
                        text.len(),
                        &text[..end]
                    )
                }
            },
            Self::Binary(data) => write!(f, "a binary message of {} bytes came", data.len()),
            Self::Closed(Some(frame)) => write!(f, "the connection was {frame}"),
            Self::Closed(None) => f.write_str("the connection was closed without a code"),
            Self::Failed(_) => f.write_str("the connection has failed"),
            Self::Nothing => f.write_str("nothing came for a minute"),
        }
    }
}

impl StdError for ReceiveError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

/// How many characters of a text are shown.
const SHOWN: usize = 200;
