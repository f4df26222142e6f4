//! wtx, without an HTTP server, and without TLS here: it wants tokio's socket.

use tokio::net::TcpStream;
use wtx::collection::Vector;
use wtx::web_socket::{OpCode, WebSocketAcceptor, WebSocketPayloadOrigin};

use super::BoxError;
use super::incoming::Incoming;

pub(super) async fn serve(incoming: Incoming) -> Result<(), BoxError> {
    loop {
        let stream = incoming
            .accept()
            .await
            .into_tcp()
            .ok_or("wtx has no TLS here")?;
        tokio::spawn(echo(stream));
    }
}

async fn echo(stream: TcpStream) -> wtx::Result<()> {
    let mut socket = WebSocketAcceptor::default()
        .accept::<TcpStream>(stream)
        .await?;
    let (mut common, mut reader, mut writer) = socket.split_mut();
    let mut buffer = Vector::new();
    loop {
        buffer.clear();
        let origin = WebSocketPayloadOrigin::Adaptive;
        let mut frame = reader.read_frame(&mut buffer, &mut common, origin).await?;
        match frame.op_code() {
            OpCode::Binary | OpCode::Text => writer.write_frame(&mut common, &mut frame).await?,
            OpCode::Close => return Ok(()),
            _ => {}
        }
    }
}
