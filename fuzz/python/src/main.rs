//! The crate's side of `differential.py`: decodes what comes on standard input, and prints what it
//! was in a form that the script makes of its own parser's events, too.
//!
//! All numbers are big-endian. A batch is its length (u32) and then inputs:
//!
//! - `role` (u8: 0 client, 1 server), `deflate` (u8: 0 none, 1 context takeover, 2 none of it),
//!   `window` (u8), `limit` (u32);
//! - the number of chunks (u16), and each with its length (u32) in front.
//!
//! The answer to a batch is its length (u32) and then for each input its events: a letter, a length
//! (u32), a payload. `T`ext, `B`inary, `P`ing, p`O`ng, `C`lose, `R` for what
//! is kept of its reason said twice, `F`ailed (with its close code), and `|` where the last chunk begins.

use std::io::{self, Read, Write};

use bytes::BytesMut;
use tower_websocket::{
    CloseFrame, Config, Event,
    protocol::{Decoder, DeflateParams, Role},
};

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    loop {
        let mut len = [0; 4];
        match input.read_exact(&mut len) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            result => result?,
        }
        let mut batch = vec![0; u32::from_be_bytes(len) as usize];
        input.read_exact(&mut batch)?;
        let (mut batch, mut answer) = (&batch[..], Vec::new());
        while !batch.is_empty() {
            decode(&mut batch, &mut answer);
        }
        output.write_all(&length(&answer))?;
        output.write_all(&answer)?;
        output.flush()?;
    }
}

fn decode(batch: &mut &[u8], answer: &mut Vec<u8>) {
    let [role, deflate, window] = take(batch);
    let role = if role == 0 {
        Role::Client
    } else {
        Role::Server
    };
    let limit = u32::from_be_bytes(take(batch)) as usize;
    let config = Config::default()
        .max_message_size(limit)
        .max_fragments(1 << 20);
    let mut decoder = Decoder::new(role, &config);
    if deflate != 0 {
        decoder = decoder.deflate(DeflateParams {
            server_no_context_takeover: deflate == 2,
            client_no_context_takeover: deflate == 2,
            server_max_window_bits: window,
            client_max_window_bits: window,
        });
    }
    let (mut src, mut is_over) = (BytesMut::new(), false);
    let chunks = u16::from_be_bytes(take(batch));
    for n in 1..=chunks {
        let len = u32::from_be_bytes(take(batch)) as usize;
        let (chunk, rest) = batch.split_at(len);
        *batch = rest;
        if n == chunks {
            event(b'|', &[], answer);
        }
        src.extend_from_slice(chunk);
        while !is_over {
            match decoder.decode(&mut src) {
                Ok(None) => break,
                Ok(Some(Event::Message(message))) => {
                    let kind = if message.is_text() { b'T' } else { b'B' };
                    event(kind, message.as_bytes(), answer);
                }
                Ok(Some(Event::Ping(payload))) => event(b'P', &payload, answer),
                Ok(Some(Event::Pong(payload))) => event(b'O', &payload, answer),
                Ok(Some(Event::Close(frame))) => {
                    let payload = frame.as_ref().map_or(Vec::new(), |frame| {
                        let code = frame.code().as_u16().to_be_bytes();
                        [&code, frame.reason().as_bytes()].concat()
                    });
                    event(b'C', &payload, answer);
                    if let Some(frame) = frame {
                        let twice = CloseFrame::new(frame.code(), frame.reason().repeat(2));
                        event(b'R', twice.reason().as_bytes(), answer);
                    }
                    is_over = true;
                }
                Err(error) => {
                    let code = error.close_code().as_u16().to_be_bytes();
                    event(b'F', &code, answer);
                    is_over = true;
                }
            }
        }
    }
    event(b'.', &[], answer);
}

fn event(kind: u8, payload: &[u8], answer: &mut Vec<u8>) {
    answer.push(kind);
    answer.extend_from_slice(&length(payload));
    answer.extend_from_slice(payload);
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len())
        .expect("batches are small")
        .to_be_bytes()
}

/// The script writes whole inputs.
fn take<const N: usize>(batch: &mut &[u8]) -> [u8; N] {
    let (first, rest) = batch.split_first_chunk().expect("a whole input");
    *batch = rest;
    *first
}
