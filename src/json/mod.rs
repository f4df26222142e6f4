//! Values as messages of JSON (feature `json`).
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tower_websocket::{WebSocket, json::JsonError};
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     pieces: u32,
//! }
//!
//! #[derive(Serialize)]
//! struct Price {
//!     cents: u32,
//! }
//!
//! async fn shop(mut socket: WebSocket) -> Result<(), JsonError> {
//!     while let Some(order) = socket.recv_json::<Order>().await? {
//!         let cents = 250 * order.pieces;
//!         socket.send_json(&Price { cents }).await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! If a server's handler returns such an error, by `?`, it closes with 1007 if the peer sent something else. It closes
//! with 1011 for errors of [`Message::to_json`](crate::Message::to_json) and of clients' sockets, which may not be the
//! peer's. To report the fault to the peer, and to continue:
//!
//! ```
//! # use serde::Deserialize;
//! use tower_websocket::{Error, WebSocket, json::JsonError};
//!
//! # #[derive(Deserialize)]
//! # struct Order { pieces: u32 }
//! async fn shop(mut socket: WebSocket) -> Result<(), Error> {
//!     loop {
//!         match socket.recv_json::<Order>().await {
//!             Ok(Some(order)) => println!("{} pieces", order.pieces),
//!             Ok(None) => return Ok(()),
//!             // Such as `invalid type: string "…", expected u32, at pieces (line 1, column 15)`.
//!             Err(JsonError::Invalid(error)) => socket.send(error.to_string()).await?,
//!             Err(JsonError::Connection(error)) => return Err(error),
//!         }
//!     }
//! }
//! ```
//!
//! - Sent messages are text. Received ones may be binary, too, if they are JSON in UTF-8.
//! - [`Message::json`](crate::Message::json) and [`Message::to_json`](crate::Message::to_json) are for everything else
//!   that takes or returns messages: `try_send`, groups, callbacks. The latter can borrow from the message.
//! - `serde_json::json!({ … }).to_string()` is a message as well, and cannot fail: use it for values without a type.
//! - [`PreparedMessage::json`](crate::PreparedMessage::json) makes the JSON once for many connections.
//! - Values nested deeper than 128 are invalid, and so are numbers that do not fit their type. The size is that of a
//!   message: [`Config::max_message_size`](crate::Config::max_message_size). Parsing does not wait for anything: 1 MiB
//!   takes some milliseconds of the connection's thread.
//! - The type decides which fields are required or allowed: `#[serde(deny_unknown_fields)]`, `#[serde(default)]`.

#[cfg(feature = "layer")]
mod error;
mod invalid;
mod message;
#[cfg(feature = "layer")]
mod socket;

#[cfg(feature = "layer")]
pub use self::error::JsonError;
pub use self::invalid::InvalidJson;
