//! Messages, and what else a connection can tell.

use bytes::Bytes;

use super::{
    close::{CloseCode, CloseFrame},
    header::Opcode,
    utf8::{InvalidUtf8, Utf8Bytes},
};

/// A message: what an application sends and receives.
///
/// A clone shares its bytes. Everything that sends takes text and bytes as they are: `socket.send("hello")`.
///
/// ```
/// use tower_websocket::{Message, MessageKind};
///
/// let message = Message::from("hello");
/// assert_eq!(message, Message::text("hello"));
/// assert_eq!((message.as_text(), message.len()), (Some("hello"), 5));
///
/// let message = Message::binary(vec![1, 2, 3]);
/// assert_eq!((message.as_text(), message.as_bytes()), (None, &[1, 2, 3][..]));
/// assert_eq!(message.kind(), MessageKind::Binary);
/// assert!(matches!(&message, Message::Binary(bytes) if bytes.len() == 3));
/// assert_eq!(message.into_bytes(), vec![1, 2, 3]);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "RFC 6455 has two kinds of data")]
pub enum Message {
    /// Text, which is UTF-8.
    Text(Utf8Bytes),
    /// Binary data.
    Binary(Bytes),
}

impl Message {
    /// Makes a text message.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// Makes a binary message.
    pub fn binary(payload: impl Into<Bytes>) -> Self {
        Self::Binary(payload.into())
    }

    /// Returns the text; `None` if this is binary data.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Returns the payload, whatever the kind.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(payload) => payload,
        }
    }

    /// Returns the payload, whatever the kind, without copying it.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(payload) => payload,
        }
    }

    /// Returns the length of the payload, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Reports whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the kind: text or binary data.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// Reports whether this is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Reports whether this is binary data.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }
}

/// The kind of a message: text or binary data.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "RFC 6455 has no other kinds of message"
)]
pub enum MessageKind {
    /// Text, which is UTF-8.
    Text,
    /// Binary data.
    Binary,
}

impl MessageKind {
    /// Returns the opcode of such a message's first frame.
    pub(crate) fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }

    /// Returns what kind of message begins with `opcode`, which is none of a control frame.
    pub(super) fn of(opcode: Opcode) -> Self {
        if opcode == Opcode::Text {
            Self::Text
        } else {
            Self::Binary
        }
    }

    /// Makes such a message of a payload.
    ///
    /// # Errors
    ///
    /// Text that is not UTF-8.
    pub(crate) fn message(self, payload: Bytes) -> Result<Message, InvalidUtf8> {
        Ok(match self {
            Self::Text => Message::Text(Utf8Bytes::try_from(payload)?),
            Self::Binary => Message::Binary(payload),
        })
    }
}

impl AsRef<[u8]> for Message {
    /// Returns the payload, whatever the kind, as [`as_bytes`](Self::as_bytes) does.
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl From<Message> for Bytes {
    /// Returns the payload, whatever the kind, as [`Message::into_bytes`] does.
    fn from(message: Message) -> Self {
        message.into_bytes()
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Bytes> for Message {
    fn from(payload: Bytes) -> Self {
        Self::Binary(payload)
    }
}

impl From<Vec<u8>> for Message {
    fn from(payload: Vec<u8>) -> Self {
        Self::binary(payload)
    }
}

impl From<&[u8]> for Message {
    fn from(payload: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(payload))
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(payload: &[u8; N]) -> Self {
        payload.as_slice().into()
    }
}

/// What one endpoint does and the other sees: a message, or a control frame.
///
/// [`recv_event`](crate::WebSocket::recv_event) receives them, and a [`session::EventSocket`](crate::session::EventSocket)
/// also sends them. Everything that becomes a [`Message`] also becomes an event, and so do a [`CloseFrame`], a
/// [`CloseCode`], and a code with a reason.
///
/// ```
/// use tower_websocket::{CloseCode, Event, Message};
///
/// assert_eq!(Event::from("hello"), Event::Message(Message::text("hello")));
/// assert_eq!(Message::try_from(Event::from("hello")), Ok(Message::text("hello")));
///
/// let close = Event::from((CloseCode::NORMAL, "bye"));
/// assert!(matches!(&close, Event::Close(Some(frame)) if frame.reason() == "bye"));
/// assert!(close.is_control());
/// assert!(close.into_message().is_none());
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "RFC 6455 has no other kinds of frame"
)]
pub enum Event {
    /// A whole message.
    Message(Message),
    /// A ping, with its payload of at most 125 bytes.
    Ping(Bytes),
    /// A pong, with its payload of at most 125 bytes.
    Pong(Bytes),
    /// A Close; `None` if it has no code (which RFC 6455 §7.1.5 calls 1005).
    Close(Option<CloseFrame>),
}

impl Event {
    /// Reports whether this is a control frame (RFC 6455 §5.5).
    #[must_use]
    pub fn is_control(&self) -> bool {
        !matches!(self, Self::Message(_))
    }

    /// Returns the message; `None` if this is a control frame.
    #[must_use]
    pub fn into_message(self) -> Option<Message> {
        self.try_into().ok()
    }
}

impl<T: Into<Message>> From<T> for Event {
    fn from(message: T) -> Self {
        Self::Message(message.into())
    }
}

impl From<CloseFrame> for Event {
    fn from(frame: CloseFrame) -> Self {
        Self::Close(Some(frame))
    }
}

impl From<CloseCode> for Event {
    fn from(code: CloseCode) -> Self {
        CloseFrame::from(code).into()
    }
}

impl<R: Into<Utf8Bytes>> From<(CloseCode, R)> for Event {
    fn from(close: (CloseCode, R)) -> Self {
        CloseFrame::from(close).into()
    }
}

impl TryFrom<Event> for Message {
    /// An event that is no message.
    type Error = Event;

    /// Returns the message; a control frame is the error.
    fn try_from(event: Event) -> Result<Self, Event> {
        match event {
            Event::Message(message) => Ok(message),
            control => Err(control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_binary_are_told_apart() {
        let (text, binary) = (Message::text("Hi"), Message::binary("Hi"));
        assert_ne!(text, binary);
        assert_eq!((text.is_text(), text.is_binary()), (true, false));
        assert_eq!((binary.is_text(), binary.is_binary()), (false, true));
        assert_eq!((text.as_text(), binary.as_text()), (Some("Hi"), None));
        let kinds = [text.kind(), binary.kind()];
        assert_eq!(kinds, [MessageKind::Text, MessageKind::Binary]);
        assert_eq!(
            kinds.map(MessageKind::opcode),
            [Opcode::Text, Opcode::Binary]
        );
    }

    #[test]
    fn payload_is_the_same_for_both_kinds() {
        for message in [Message::text("é"), Message::binary("é")] {
            assert_eq!((message.as_bytes(), message.len()), (&b"\xc3\xa9"[..], 2));
            assert!(!message.is_empty());
            assert_eq!(message.into_bytes(), &b"\xc3\xa9"[..]);
        }
        assert!(Message::text("").is_empty() && Message::binary("").is_empty());
    }

    #[test]
    fn strings_become_text_and_bytes_binary() {
        let text = Message::text("Hi");
        assert_eq!(Message::from("Hi"), text);
        assert_eq!(Message::from("Hi".to_owned()), text);
        assert_eq!(Message::from(&"Hi".to_owned()), text);
        assert_eq!(Message::from(Utf8Bytes::from_static("Hi")), text);
        let binary = Message::binary("Hi");
        assert_eq!(Message::from(b"Hi"), binary);
        assert_eq!(Message::from(&b"Hi"[..]), binary);
        assert_eq!(Message::from(b"Hi".to_vec()), binary);
        assert_eq!(Message::from(Bytes::from("Hi")), binary);
    }

    #[test]
    fn large_payloads_change_hands_without_a_copy() {
        let payload = vec![1; 9000];
        let address = payload.as_ptr();
        assert_eq!(Message::from(payload).into_bytes().as_ptr(), address);
    }

    #[test]
    fn everything_but_a_message_is_control() {
        assert!(!Event::Message(Message::text("")).is_control());
        let close = Event::Close(Some(CloseCode::NORMAL.into()));
        for event in [
            Event::Ping("".into()),
            Event::Pong("".into()),
            Event::Close(None),
            close,
        ] {
            assert!(event.is_control());
        }
    }
    #[test]
    fn message_is_read_as_bytes_of_either_kind() {
        fn len(bytes: impl AsRef<[u8]>) -> usize {
            bytes.as_ref().len()
        }
        assert_eq!((len(Message::text("é")), len(Message::binary("é"))), (2, 2));
        assert_eq!(Bytes::from(Message::text("Hi")), "Hi");
    }

    #[test]
    fn messages_and_closes_become_events() {
        assert_eq!(Event::from("Hi"), Event::Message(Message::text("Hi")));
        assert_eq!(Event::from(b"Hi"), Event::Message(Message::binary("Hi")));
        let frame = CloseFrame::new(CloseCode::GOING_AWAY, "bye");
        let close = Event::Close(Some(frame.clone()));
        assert_eq!(Event::from(frame), close);
        assert_eq!(Event::from((CloseCode::GOING_AWAY, "bye")), close);
        assert_eq!(
            Event::from((CloseCode::GOING_AWAY, "bye".to_owned())),
            close
        );
        let normal = Event::Close(Some(CloseCode::NORMAL.into()));
        assert_eq!(Event::from(CloseCode::NORMAL), normal);
    }

    #[test]
    fn event_that_is_no_message_comes_back() {
        assert_eq!(Message::try_from(Event::from("Hi")), Ok("Hi".into()));
        assert_eq!(Event::from("Hi").into_message(), Some("Hi".into()));
        let controls = [
            Event::Ping("Hi".into()),
            Event::Pong("Hi".into()),
            Event::Close(None),
        ];
        for control in controls {
            assert_eq!(Message::try_from(control.clone()), Err(control));
        }
    }
}
