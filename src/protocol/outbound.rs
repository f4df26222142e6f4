//! What can be sent: a message with a say in its compression, or one that was encoded before.

use std::{
    fmt, mem,
    sync::{Arc, PoisonError},
};

use bytes::{Buf, Bytes};

use super::{
    deflate::{self, Shape},
    encoder::{Encoder, FragmentSize},
    message::{Message, MessageKind},
    send_queue::{SHARE_FROM, SendQueue},
    utf8::Utf8Bytes,
};
use crate::{
    compression::Compression,
    memory::MemoryBudget,
    sync::{Mutex, OnceLock},
};

/// What `send` takes: a [`Message`], anything that becomes one, or a [`PreparedMessage`].
///
/// ```
/// use tower_websocket::{Message, protocol::Outbound};
///
/// let usual = Outbound::from("hello");
/// assert_eq!(usual.into_message(), Message::text("hello"));
///
/// let secret: Outbound = Message::text("token=42").uncompressed();
/// assert_eq!(secret.into_message(), Message::text("token=42"));
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outbound {
    pub(crate) content: Content,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Content {
    // Flat, so that it is no larger than a message.
    Text(Utf8Bytes, Choice),
    Binary(Bytes, Choice),
    Prepared(PreparedMessage),
}

/// What the application says about the compression of a message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Choice {
    /// From [`Compression::threshold`](crate::Compression::threshold) on.
    #[default]
    BySize,
    Always,
    Never,
}

impl Outbound {
    fn new(message: Message, choice: Choice) -> Self {
        Self {
            content: match message {
                Message::Text(text) => Content::Text(text, choice),
                Message::Binary(payload) => Content::Binary(payload, choice),
            },
        }
    }

    /// Reports whether it may have been encoded before.
    #[inline]
    pub(crate) fn is_prepared(&self) -> bool {
        matches!(self.content, Content::Prepared(_))
    }

    /// Returns the message, without its setting of compression.
    #[must_use]
    #[inline(always)]
    pub fn into_message(self) -> Message {
        match self.content {
            Content::Text(text, _) => Message::Text(text),
            Content::Binary(payload, _) => Message::Binary(payload),
            Content::Prepared(prepared) => prepared.message().clone(),
        }
    }

    /// Takes the message, and leaves an empty one.
    pub(super) fn take_message(&mut self) -> Message {
        match &mut self.content {
            Content::Text(text, _) => Message::Text(mem::take(text)),
            Content::Binary(payload, _) => Message::Binary(mem::take(payload)),
            Content::Prepared(prepared) => prepared.message().clone(),
        }
    }

    /// Returns the length of the payload, in bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Returns the payload.
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.content {
            Content::Text(text, _) => text.as_bytes(),
            Content::Binary(payload, _) => payload,
            Content::Prepared(prepared) => prepared.message().as_bytes(),
        }
    }

    /// Returns the payload, which shares its bytes.
    #[cfg(feature = "cluster")]
    pub(crate) fn to_bytes(&self) -> Bytes {
        match &self.content {
            Content::Text(text, _) => text.clone().into_bytes(),
            Content::Binary(payload, _) => payload.clone(),
            Content::Prepared(prepared) => prepared.message().clone().into_bytes(),
        }
    }

    /// Returns whether it is text or binary data.
    pub(crate) fn kind(&self) -> MessageKind {
        match &self.content {
            Content::Text(..) => MessageKind::Text,
            Content::Binary(..) => MessageKind::Binary,
            Content::Prepared(prepared) => prepared.message().kind(),
        }
    }

    /// Reports whether it is compressed if that is agreed on, with these settings.
    pub(crate) fn compresses(&self, settings: &Compression) -> bool {
        match self.choice() {
            Choice::BySize => self.len() >= settings.threshold,
            Choice::Always => true,
            Choice::Never => false,
        }
    }

    /// Returns what the application says about its compression.
    pub(crate) fn choice(&self) -> Choice {
        match &self.content {
            Content::Text(_, choice) | Content::Binary(_, choice) => *choice,
            Content::Prepared(prepared) => prepared.0.choice,
        }
    }
}

impl Message {
    /// Returns the same message, to be sent without compression.
    ///
    /// Use it for a secret beside text that others choose (BREACH): see [`Compression`]. It has no effect if no
    /// compression was agreed on.
    ///
    /// ```
    /// use tower_websocket::Message;
    /// # #[cfg(feature = "layer")]
    /// # async fn example(socket: tower_websocket::WebSocket) -> Result<(), tower_websocket::Error> {
    /// socket.send(Message::text("token=42").uncompressed()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn uncompressed(self) -> Outbound {
        Outbound::new(self, Choice::Never)
    }

    /// Returns the same message, to be compressed however short it is.
    ///
    /// It is sent as it is if compression makes it no shorter, or if none was agreed on.
    #[must_use]
    pub fn compressed(self) -> Outbound {
        Outbound::new(self, Choice::Always)
    }
}

impl<T: Into<Message>> From<T> for Outbound {
    fn from(message: T) -> Self {
        Self::new(message.into(), Choice::BySize)
    }
}

impl From<PreparedMessage> for Outbound {
    fn from(prepared: PreparedMessage) -> Self {
        Self {
            content: Content::Prepared(prepared),
        }
    }
}

impl From<Outbound> for PreparedMessage {
    /// Prepares the message, unless it is prepared already.
    fn from(outbound: Outbound) -> Self {
        match outbound.content {
            Content::Prepared(prepared) => prepared,
            _ => Self::new(outbound),
        }
    }
}

impl From<&PreparedMessage> for Outbound {
    fn from(prepared: &PreparedMessage) -> Self {
        prepared.clone().into()
    }
}

/// A message for many connections: encoded once, and compressed at most once.
///
/// Clones are cheap. All connections share its bytes, whatever their HTTP version; those
/// that agreed on compression share one compressed form for each window size that clients asked for.
/// A client has to mask what it sends, so it encodes the message anew.
///
/// ```
/// # #[cfg(feature = "layer")]
/// # {
/// use tower_websocket::{PreparedMessage, Sender};
///
/// fn broadcast(members: &[Sender], news: &str) {
///     let news = PreparedMessage::new(news);
///     for member in members {
///         // Ignore a full queue and a closed connection.
///         let _ = member.try_send(&news);
///     }
/// }
/// # }
/// # use tower_websocket::{Message, PreparedMessage};
/// # assert_eq!(PreparedMessage::new("hello").message(), &Message::text("hello"));
/// ```
#[derive(Clone)]
pub struct PreparedMessage(Arc<Encodings>);

struct Encodings {
    message: Message,
    choice: Choice,
    /// As it is, in fragments of the size that was asked for first.
    plain: OnceLock<(FragmentSize, Bytes)>,
    /// One for each other form that was asked for; they are few.
    encoded: Mutex<Vec<(Form, WireForm)>>,
}

/// What two connections must have in common to be sent the same bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Form {
    shape: Option<Shape>,
    fragment_size: FragmentSize,
}

/// A message in wire form.
#[derive(Clone, Debug)]
pub(crate) struct WireForm {
    pub(crate) frames: Bytes,
    pub(crate) compressed: bool,
}

impl PreparedMessage {
    /// Prepares a message; it is encoded when it is first sent.
    pub fn new(message: impl Into<Outbound>) -> Self {
        let outbound = message.into();
        let choice = outbound.choice();
        Self(Arc::new(Encodings {
            message: outbound.into_message(),
            choice,
            plain: OnceLock::new(),
            encoded: Mutex::default(),
        }))
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.0.message
    }

    /// The wire form for an encoder that neither masks nor compresses; `None` where it has been
    /// made for another size of fragments.
    ///
    /// The first who asks has it counted in its `budget`.
    #[inline]
    pub(crate) fn plain(&self, encoder: &Encoder, budget: &MemoryBudget) -> Option<&Bytes> {
        let fragment_size = encoder.fragment_size();
        let (size, frames) = self.0.plain.get_or_init(|| {
            let encoded = encode(&self.0.message, encoder, None, budget);
            (fragment_size, encoded.frames)
        });
        (*size == fragment_size).then_some(frames)
    }

    /// The wire form as [`plain`](Self::plain) gives it, if it has been made.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "groups do"))]
    pub(crate) fn plain_if_made(&self, encoder: &Encoder) -> Option<&Bytes> {
        let (size, frames) = self.0.plain.get()?;
        (*size == encoder.fragment_size()).then_some(frames)
    }

    /// The wire form for an encoder that does not mask, compressed where there is a `shape`.
    ///
    /// Others wait while it is made, so that it is made once. The first who asks has it counted in
    /// its `budget`.
    pub(crate) fn encode(
        &self,
        encoder: &Encoder,
        shape: Option<Shape>,
        budget: &MemoryBudget,
    ) -> WireForm {
        if shape.is_none()
            && let Some(frames) = self.plain(encoder, budget)
        {
            return WireForm {
                frames: frames.clone(),
                compressed: false,
            };
        }
        let form = Form {
            shape,
            fragment_size: encoder.fragment_size(),
        };
        let mut forms = self
            .0
            .encoded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, encoded)) = forms.iter().find(|(known, _)| *known == form) {
            return encoded.clone();
        }
        let encoded = encode(&self.0.message, encoder, shape, budget);
        forms.push((form, encoded.clone()));
        encoded
    }
}

impl PartialEq for PreparedMessage {
    /// Reports whether the messages are equal, and compressed alike.
    fn eq(&self, other: &Self) -> bool {
        (&self.0.message, self.0.choice) == (&other.0.message, other.0.choice)
    }
}

impl Eq for PreparedMessage {}

impl fmt::Debug for PreparedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PreparedMessage")
            .field(&self.0.message)
            .finish()
    }
}

fn encode(
    message: &Message,
    encoder: &Encoder,
    shape: Option<Shape>,
    budget: &MemoryBudget,
) -> WireForm {
    let mut queue = SendQueue::new();
    let output = shape.and_then(|shape| deflate::deflate(shape, message.as_bytes()));
    let compressed = output.is_some();
    if let Some(output) = output {
        encoder.compressed(message.kind(), &output, &mut queue);
    } else {
        encoder.message(message.clone(), &mut queue);
    }
    let len = queue.len();
    let frames = queue.copy_to_bytes(len);
    WireForm {
        frames: if len < SHARE_FROM {
            // Each queue copies it.
            frames
        } else {
            budget.lend(frames)
        },
        compressed,
    }
}
