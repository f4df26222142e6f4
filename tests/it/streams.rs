//! Messages sent and received piece by piece.

mod behind_a_writer;
#[cfg(feature = "deflate")]
mod compressed;
mod faults;
mod limits;
mod reader;
mod sockets;
mod writer;
mod writer_ends;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tower_websocket::{
    Config, Error, MessageKind, WebSocket,
    session::{MessageReader, MessageWriter},
};

use super::session::support::{Frame, Peer, client_frame, text, within};

/// The defaults, but messages are received as they arrive.
fn streaming() -> Config {
    Config::default().streaming(true)
}

/// Streams every message back, as it arrives.
async fn relay(mut socket: WebSocket) -> Result<(), Error> {
    let sender = socket.sender();
    while let Some(mut reader) = socket.recv_reader().await? {
        let mut writer = sender.send_writer(reader.kind()).await?;
        tokio::io::copy(&mut reader, &mut writer).await?;
        writer.finish().await?;
    }
    Ok(())
}

/// A frame as a server sends it.
fn frame(first: u8, payload: impl Into<Vec<u8>>) -> Frame {
    Frame {
        first,
        payload: payload.into(),
    }
}

/// Receives so many frames.
async fn frames<S: AsyncRead + AsyncWrite + Unpin>(peer: &mut Peer<S>, count: usize) -> Vec<Frame> {
    let mut frames = vec![];
    for _ in 0..count {
        frames.push(peer.frame().await);
    }
    frames
}

/// Begins to write a message.
async fn begin(socket: &WebSocket, kind: MessageKind) -> MessageWriter<'_> {
    let writer = within(socket.send_writer(kind)).await;
    writer.expect("the connection is open")
}

/// Begins to read a message, which has to come.
async fn next(socket: &mut WebSocket) -> MessageReader<'_> {
    let reader = within(socket.recv_reader()).await;
    reader.expect("a message").expect("a message")
}

/// Reads a chunk, which has to come.
async fn chunk(reader: &mut MessageReader<'_>) -> Vec<u8> {
    let chunk = within(reader.chunk()).await;
    chunk.expect("a chunk").expect("a chunk").into()
}

/// Reads the rest of a message.
async fn rest(reader: &mut MessageReader<'_>) -> Vec<u8> {
    let mut payload = vec![];
    let read = within(reader.read_to_end(&mut payload)).await;
    read.expect("all of the message");
    payload
}

/// Sees that the next message is an unharmed one.
async fn expect_next<S: AsyncRead + AsyncWrite + Unpin>(
    peer: &mut Peer<S>,
    socket: &mut WebSocket,
) {
    peer.send(text("next")).await;
    let message = within(socket.recv()).await.expect("the next message");
    assert_eq!(message, Some("next".into()));
}

/// Whether it is the error of something that is not UTF-8.
fn is_invalid_data(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == std::io::ErrorKind::InvalidData)
}

/// A message in fragments of one byte each.
fn in_bytes(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frames = client_frame(first & 0x0f, "");
    for byte in payload {
        frames.extend(client_frame(0x00, [*byte]));
    }
    frames.extend(client_frame(0x80, ""));
    frames
}
