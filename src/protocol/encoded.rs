//! From what is sent to what is queued: as it is, compressed, or encoded before.

use std::mem;

use bytes::Bytes;

use super::{
    deflate::{Context, Output, Shape, deflate},
    encoder::Encoder,
    message::Message,
    outbound::{Content, Outbound},
    outgoing::Outgoing,
};
use crate::memory::MemoryBudget;

/// A message in the form in which it will be queued.
#[derive(Debug)]
pub(crate) struct Encoded {
    outbound: Outbound,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Plain,
    Compressed(Output),
    /// Frames that many connections have.
    Shared(Bytes),
}

impl Outbound {
    /// Decides in which form a message leaves, and makes it.
    ///
    /// `shape` is there if it is to be compressed, and `context` with context takeover: it learns
    /// what the peer will know. What is compressed has to be queued in the order in which that
    /// happens. What many connections have counts in the `budget`.
    pub(crate) fn encode(
        self,
        encoder: &Encoder,
        shape: Option<Shape>,
        context: Option<&mut Context>,
        budget: &MemoryBudget,
    ) -> Encoded {
        let form = match (&self.content, shape) {
            (Content::Prepared(prepared), _) if !encoder.masks() => {
                let encoded = prepared.encode(encoder, shape, budget);
                if let Some(context) = context
                    && encoded.compressed
                {
                    context.sent_alone(prepared.message().as_bytes());
                }
                Form::Shared(encoded.frames)
            }
            (_, None) => Form::Plain,
            (_, Some(shape)) => {
                let output = match context {
                    Some(context) => context.deflate(shape, self.as_bytes()),
                    None => deflate(shape, self.as_bytes()),
                };
                output.map_or(Form::Plain, Form::Compressed)
            }
        };
        Encoded {
            outbound: self,
            form,
        }
    }
}

impl Encoded {
    /// Queues the message on a connection that is open. Returns what was copied of it.
    ///
    /// What is left of it, and what is returned, is dropped where that does no harm.
    pub(crate) fn queue(&mut self, outgoing: &mut Outgoing, encoder: &Encoder) -> Option<Bytes> {
        let len = self.outbound.len();
        match &self.form {
            Form::Plain => {
                let nothing = Message::Binary(Bytes::new()).into();
                let message = mem::replace(&mut self.outbound, nothing).into_message();
                outgoing.message(encoder, message).ok().flatten()
            }
            Form::Compressed(output) => {
                let kind = self.outbound.kind();
                let _open = outgoing.compressed(encoder, kind, len, output);
                None
            }
            Form::Shared(frames) => {
                let _open = outgoing.frames(len, frames);
                None
            }
        }
    }

    /// Gives the message back, if it could not be queued.
    #[cfg_attr(not(feature = "layer"), expect(dead_code, reason = "sessions do"))]
    pub(crate) fn into_outbound(self) -> Outbound {
        self.outbound
    }
}
