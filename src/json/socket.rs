//! JSON over a connection.

use std::future::Future;

use serde::{Serialize, de::DeserializeOwned};

use super::{error::JsonError, invalid::InvalidJson};
use crate::{
    error::Error,
    protocol::Message,
    session::{SendFuture, Sender, WebSocket, handle::Receiver},
};

/// JSON (feature `json`).
impl WebSocket {
    /// Receives the next message as a value from JSON; `None` after a clean end.
    ///
    /// Text and binary messages are both read as JSON. See [`json`](crate::json).
    ///
    /// # Errors
    ///
    /// [`JsonError::Connection`] as [`recv`](Self::recv). [`JsonError::Invalid`] for a message that is not what `T`
    /// expects, with the place of the fault. That message is lost, the connection is open, and the next call receives
    /// the next one. To keep the message, use [`recv`](Self::recv) and [`Message::to_json`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv_json<T: DeserializeOwned>(
        &mut self,
    ) -> impl Future<Output = Result<Option<T>, JsonError>> + Send {
        let of_client = self.is_server();
        receive(self.recv(), of_client)
    }

    /// Sends a value as JSON, in a text message; as [`send`](Self::send).
    ///
    /// The JSON is made at once: the future does not borrow the value.
    ///
    /// # Errors
    ///
    /// [`JsonError::Connection`] as [`send`](Self::send). [`JsonError::Invalid`] for a value that has no JSON, as
    /// [`Message::json`]: nothing is sent, and the connection is open.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub fn send_json<'a, T: Serialize + ?Sized>(
        &'a self,
        value: &T,
    ) -> impl Future<Output = Result<(), JsonError>> + Send + use<'a, T> {
        send(Message::json(value).map(|message| self.send(message)))
    }
}

/// JSON (feature `json`).
impl Receiver {
    /// Receives the next message as a value from JSON; as [`WebSocket::recv_json`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv_json`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub fn recv_json<T: DeserializeOwned>(
        &mut self,
    ) -> impl Future<Output = Result<Option<T>, JsonError>> + Send {
        let of_client = self.is_server();
        receive(self.recv(), of_client)
    }
}

/// JSON (feature `json`).
impl Sender {
    /// Sends a value as JSON; as [`WebSocket::send_json`].
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send_json`].
    pub fn send_json<'a, T: Serialize + ?Sized>(
        &'a self,
        value: &T,
    ) -> impl Future<Output = Result<(), JsonError>> + Send + use<'a, T> {
        send(Message::json(value).map(|message| self.send(message)))
    }
}

/// Reads what comes. Between the message and its value nothing is awaited.
async fn receive<T: DeserializeOwned>(
    message: impl Future<Output = Result<Option<Message>, Error>>,
    of_client: bool,
) -> Result<Option<T>, JsonError> {
    match message.await? {
        Some(message) => {
            let value = message.to_json();
            let value = value.map_err(|error| error.of_client(of_client))?;
            Ok(Some(value))
        }
        None => Ok(None),
    }
}

async fn send(sending: Result<SendFuture<'_>, InvalidJson>) -> Result<(), JsonError> {
    Ok(sending?.await?)
}
