//! The payload of a Close frame (RFC 6455 §5.5.1).

use bytes::Bytes;

use super::{
    close::{CloseCode, CloseFrame},
    error::ProtocolError,
    header::MAX_SHORT,
    utf8::Utf8Bytes,
};

impl CloseFrame {
    /// Reads the payload of a Close frame; `None` if it is empty, which has neither code nor reason.
    ///
    /// The rules are those of RFC 6455 §5.5.1.
    ///
    /// ```
    /// use tower_websocket::{CloseCode, CloseFrame, ProtocolError};
    ///
    /// let frame = CloseFrame::decode(b"\x03\xe9bye")?.expect("a code");
    /// assert_eq!((frame.code(), frame.reason()), (CloseCode::GOING_AWAY, "bye"));
    /// assert_eq!(frame.payload(), &b"\x03\xe9bye"[..]);
    /// assert_eq!(CloseFrame::decode(b"")?, None);
    /// assert_eq!(CloseFrame::decode(b"\x03"), Err(ProtocolError::TruncatedCloseCode));
    /// # Ok::<(), ProtocolError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// One byte, more than 125 bytes, a code that must not travel, or a reason that is not UTF-8.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, ProtocolError> {
        if payload.len() > MAX_SHORT {
            return Err(ProtocolError::ControlTooLong(payload.len() as u64));
        }
        let Some((code, reason)) = payload.split_first_chunk() else {
            return if payload.is_empty() {
                Ok(None)
            } else {
                Err(ProtocolError::TruncatedCloseCode)
            };
        };
        let code = u16::from_be_bytes(*code);
        let code = CloseCode::new(code).ok_or(ProtocolError::InvalidCloseCode(code))?;
        let reason = Utf8Bytes::try_from(Bytes::copy_from_slice(reason))?;
        Ok(Some(Self::new(code, reason)))
    }

    /// Writes the payload of a Close frame, of 2 to 125 bytes.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        [
            &self.code().as_u16().to_be_bytes()[..],
            self.reason().as_bytes(),
        ]
        .concat()
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(code: u16, reason: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes(), reason].concat()
    }

    #[test]
    fn exactly_the_codes_of_the_registry_are_received() {
        for code in 0..=u16::MAX {
            let expected = match CloseCode::new(code) {
                Some(code) => Ok(Some(CloseFrame::from(code))),
                None => Err(ProtocolError::InvalidCloseCode(code)),
            };
            assert_eq!(CloseFrame::decode(&payload(code, b"")), expected);
        }
    }

    #[test]
    fn empty_close_has_neither_code_nor_reason() {
        assert_eq!(CloseFrame::decode(b""), Ok(None));
    }

    #[test]
    fn close_of_one_byte_is_rejected() {
        assert_eq!(
            CloseFrame::decode(b"\x03"),
            Err(ProtocolError::TruncatedCloseCode)
        );
    }

    #[test]
    fn received_reason_is_kept_whole() {
        let reason = "ä".repeat(61) + "x";
        let frame = CloseFrame::decode(&payload(1000, reason.as_bytes()));
        assert_eq!(frame, Ok(Some(CloseFrame::new(CloseCode::NORMAL, reason))));
    }

    #[test]
    fn close_of_125_bytes_is_the_longest() {
        assert!(CloseFrame::decode(&payload(1000, &[b'x'; 123])).is_ok());
        assert_eq!(
            CloseFrame::decode(&payload(1000, &[b'x'; 124])),
            Err(ProtocolError::ControlTooLong(126))
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        for reason in ["", "bye", "ä€😀", &"x".repeat(200)] {
            let frame = CloseFrame::new(CloseCode::GOING_AWAY, reason);
            assert!((2..=125).contains(&frame.payload().len()));
            assert_eq!(CloseFrame::decode(&frame.payload()), Ok(Some(frame)));
        }
    }

    #[test]
    fn received_reason_that_is_not_utf8_is_rejected() {
        for reason in [
            &b"\xff"[..],
            b"a\xc3",
            b"\xed\xa0\x80",
            b"ok\xf4\x90\x80\x80",
        ] {
            assert_eq!(
                CloseFrame::decode(&payload(1000, reason)),
                Err(ProtocolError::InvalidUtf8),
                "{reason:x?}"
            );
        }
    }
}
