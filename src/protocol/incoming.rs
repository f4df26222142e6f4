//! The half of a connection that receives: what is decoded, counted and answered.

use std::time::Instant;

use bytes::{BytesMut, buf::Limit};

use super::{
    control_rate::ControlRate,
    decoder::{Decoded, DecoderState, FrameInProgress, Limits},
    deflate::DeflateParams,
    encoder::Encoder,
    error::ProtocolError,
    facts::Facts,
    message::Event,
    outgoing::Outgoing,
    role::Role,
    timers::Timers,
};
use crate::config::Config;

/// Everything that decides what is received.
///
/// Small, because every idle connection has one: limits and settings come with each call.
#[derive(Debug)]
pub(crate) struct Incoming {
    decoder: DecoderState,
    control_rate: ControlRate,
    messages: u64,
    bytes: u64,
}

impl Incoming {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            decoder: DecoderState::new(role),
            control_rate: ControlRate::default(),
            messages: 0,
            bytes: 0,
        }
    }

    /// Takes compressed messages, as agreed on.
    pub(crate) fn set_deflate(&mut self, params: DeflateParams) {
        self.decoder.set_deflate(params);
    }

    /// Counts bytes that came from the peer.
    #[inline]
    pub(crate) fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Takes the next event from the front of `src`, and counts it if it ends a message. Stops for a
    /// while after about `room` bytes have come out of the decompressor, and takes them off it.
    ///
    /// Once our Close was sent (`closing`), messages are passed over: they are neither counted nor
    /// given, and may be of any size and content (RFC 6455 §5.5.1).
    #[inline]
    pub(crate) fn decode(
        &mut self,
        limits: &Limits,
        src: &mut BytesMut,
        room: &mut usize,
        closing: bool,
    ) -> Result<Option<Decoded>, ProtocolError> {
        if closing {
            self.decoder.discard_messages();
        }
        let result = self.decoder.decode(limits, src, room);
        // Looked at where it lies: each time it is moved costs a message twenty instructions.
        if let Ok(Some(decoded)) = &result
            && decoded.ends_message()
        {
            self.messages += 1;
        }
        result
    }

    /// Reports whether what comes next may be taken with
    /// [`take_plain`](super::decoder::take_plain), where it is such a message.
    #[inline]
    pub(crate) fn is_between_messages(&self) -> bool {
        self.decoder.is_between_messages()
    }

    /// Counts messages that somebody else has decoded, of one frame each.
    #[inline]
    pub(crate) fn count_plain(&mut self, messages: u32) {
        self.decoder.pass_over(messages);
        self.messages += u64::from(messages);
    }

    /// Does what a ping or a pong asks for.
    ///
    /// # Errors
    ///
    /// The peer sends too many of them. A pong that answers a ping of ours is none too many.
    #[inline]
    pub(crate) fn control(
        &mut self,
        event: &Event,
        outgoing: &mut Outgoing,
        timers: &mut Timers,
        now: Instant,
        encoder: &Encoder,
        config: &Config,
    ) -> Result<(), ProtocolError> {
        if matches!(event, Event::Pong(_)) && outgoing.take_answer() {
            if outgoing.is_answered() {
                timers.pings_answered(now);
            }
            return Ok(());
        }
        self.control_rate.receive(timers.age(now), config)?;
        if let Event::Ping(payload) = event
            && config.auto_pong
        {
            outgoing.receive_ping(encoder, payload);
        }
        Ok(())
    }

    /// Passes over messages from now on, as after our Close.
    pub(crate) fn discard_messages(&mut self) {
        self.decoder.discard_messages();
    }

    /// Returns where the rest of a large payload may be read to; see
    /// [`Decoder::payload_buffer`](super::Decoder::payload_buffer).
    pub(crate) fn payload_buffer(&mut self, limits: &Limits) -> Option<Limit<&mut BytesMut>> {
        self.decoder.payload_buffer(limits)
    }

    /// Returns the frame the peer is in the middle of; `undecoded` is what [`decode`](Self::decode)
    /// left in its input.
    #[inline]
    pub(crate) fn frame_in_progress(&self, undecoded: usize) -> Option<FrameInProgress> {
        self.decoder.frame_in_progress(undecoded)
    }

    /// Returns what the deadlines are judged by; `undecoded` is what [`decode`](Self::decode) left in
    /// its input.
    pub(crate) fn facts(&self, outgoing: &Outgoing, limits: &Limits, undecoded: usize) -> Facts {
        let in_progress = self.decoder.message_in_progress();
        let traffic = [
            self.messages,
            in_progress,
            outgoing.messages,
            outgoing.bytes,
        ];
        // A message that is streamed has come when it begins.
        let begun = limits.streaming && in_progress > 0;
        Facts {
            traffic: Facts::traffic(traffic),
            received: self.messages + u64::from(begun),
            frame: self.frame_in_progress(undecoded),
            closing: outgoing.close_sent(),
        }
    }

    /// Returns how many messages were received.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Returns how many bytes were received.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns how much memory is held for the message that has begun and not ended, in bytes.
    #[inline]
    pub(crate) fn memory(&self) -> usize {
        self.decoder.memory()
    }
}

#[cfg(test)]
mod tests;
