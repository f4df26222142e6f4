//! Messages that are passed over, and the control frames between them.

use bytes::{Buf, BytesMut};

use super::{DecoderState, Mode};
use crate::protocol::{
    decoder::{limits::Limits, open_frame::Progress, open_message::OpenMessage, piece::Decoded},
    error::ProtocolError,
    header::Header,
};

impl DecoderState {
    /// Passes over messages from now on, whatever their size: only control frames are of interest.
    ///
    /// Their payloads are not kept, unmasked, decompressed or validated. What was received of a
    /// message in progress is dropped.
    pub(crate) fn discard_messages(&mut self) {
        if self.mode == Mode::Decoding {
            self.mode = Mode::Discarding;
            if let Some(held) = &mut self.held {
                held.history = None;
                if let Some(open) = &mut held.open {
                    open.discard();
                }
            }
        }
    }

    /// Passes over messages to the next control frame.
    pub(super) fn next_control(
        &mut self,
        src: &mut BytesMut,
    ) -> Result<Option<Decoded>, ProtocolError> {
        loop {
            if let Some(open) = self.open_mut().filter(|open| open.frame.is_some()) {
                match open.skip(src) {
                    Progress::FrameEnded => {}
                    Progress::MessageEnded => self.held = None,
                    Progress::Starved | Progress::Full | Progress::Interrupted => return Ok(None),
                }
                continue;
            }
            let Some((header, used)) = Header::decode(src)? else {
                return Ok(None);
            };
            self.check(&Limits::NONE, &header)?;
            if header.opcode.is_control() {
                return self.take_control(&header, used, src);
            }
            self.frames = self.frames.wrapping_add(1);
            src.advance(used);
            let open = &mut self.held.get_or_insert_default().open;
            let open = open.get_or_insert_with(|| OpenMessage::new(header.opcode, None));
            open.discard();
            open.open_frame(&header);
        }
    }
}
