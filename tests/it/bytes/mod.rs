//! Connections as streams of bytes.

mod ends;
mod halves;
mod reading;
mod tunnels;
mod writing;

use std::io;

use tokio::io::AsyncReadExt;
use tower_websocket::session::{ByteReader, ByteStream, ByteStreamError, ByteWriter};

use crate::session::support::within;

#[test]
fn streams_and_halves_may_go_to_any_task() {
    fn anywhere<T: Send + Sync + Unpin + 'static>() {}
    anywhere::<ByteStream>();
    anywhere::<ByteReader>();
    anywhere::<ByteWriter>();
}

/// Bytes that are nowhere the same for long.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

/// Reads so many bytes.
async fn read(stream: &mut ByteStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let read = within(stream.read_exact(&mut bytes)).await;
    read.expect("the bytes come");
    bytes
}

/// Sees that there is nothing more to read, and that it stays so.
async fn expect_eof(stream: &mut ByteStream) {
    for _ in 0..3 {
        let read = within(stream.read(&mut [0; 10])).await;
        assert_eq!(read.expect("a clean end"), 0);
    }
}

/// Reads what is an error, and sees that it is one of the same kind from then on.
async fn expect_error(stream: &mut ByteStream) -> io::Error {
    let error = within(stream.read(&mut [0; 10])).await.unwrap_err();
    for _ in 0..2 {
        let again = within(stream.read(&mut [0; 10])).await.unwrap_err();
        assert_eq!(again.kind(), error.kind());
    }
    error
}

/// What is inside of an error that is not one of the connection.
fn inside(error: &io::Error) -> Option<&ByteStreamError> {
    error.get_ref()?.downcast_ref()
}
