//! Messages made of values, and values made of messages.

use serde::{Deserialize, Serialize};

use super::invalid::{self, InvalidJson};
use crate::protocol::{Message, outbound::PreparedMessage};

/// JSON (feature `json`).
impl Message {
    /// Makes a text message of a value, as JSON in one line.
    ///
    /// ```
    /// use tower_websocket::{Message, json::InvalidJson};
    ///
    /// let message = Message::json(&["a", "b"])?;
    /// assert_eq!(message.as_text(), Some(r#"["a","b"]"#));
    /// # Ok::<_, InvalidJson>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The value's `Serialize` fails, or it has a map whose keys are neither text nor numbers. Floating point numbers
    /// that are not finite become `null`.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, InvalidJson> {
        let json = serde_json::to_string(value);
        json.map(Self::text)
            .map_err(|error| InvalidJson::unserializable(&error))
    }

    /// Reads a value from JSON, in text or in binary data.
    ///
    /// The value may borrow its strings from the message, if they have no escapes.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use tower_websocket::Message;
    ///
    /// #[derive(Deserialize)]
    /// struct Order<'a> {
    ///     item: &'a str,
    ///     pieces: u32,
    /// }
    ///
    /// let message = Message::text(r#"{"item": "tea", "pieces": 3}"#);
    /// let order = message.to_json::<Order<'_>>().expect("an order");
    /// assert_eq!((order.item, order.pieces), ("tea", 3));
    ///
    /// let message = Message::text(r#"{"item": "tea", "pieces": "three"}"#);
    /// let error = message.to_json::<Order<'_>>().err().expect("no order");
    /// assert_eq!((error.path(), error.line(), error.column()), ("pieces", 1, 33));
    /// ```
    ///
    /// # Errors
    ///
    /// The payload is not JSON in UTF-8, is nested deeper than 128, has something behind the value, or is not what the
    /// type's `Deserialize` expects. `Deserialize` runs a second time then, to find the path.
    pub fn to_json<'de, T: Deserialize<'de>>(&'de self) -> Result<T, InvalidJson> {
        invalid::parse(self.as_bytes())
    }
}

/// JSON (feature `json`).
impl PreparedMessage {
    /// Prepares a text message of a value, as JSON, which is made once for all connections.
    ///
    /// # Errors
    ///
    /// As [`Message::json`].
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, InvalidJson> {
        Message::json(value).map(Self::new)
    }
}
