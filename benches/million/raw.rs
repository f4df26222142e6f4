//! The limit: a server of the `h2` crate alone, which sends DATA back unread.

use std::{future::poll_fn, io};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use tokio::net::TcpListener;

pub(crate) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await?;
            while let Some(request) = connection.accept().await {
                let (request, mut respond) = request?;
                let send = respond.send_response(http::Response::new(()), false)?;
                tokio::spawn(echo(request.into_body(), send));
            }
            Ok::<(), h2::Error>(())
        });
    }
}

async fn echo(mut receive: RecvStream, mut send: SendStream<Bytes>) -> Result<(), h2::Error> {
    while let Some(data) = receive.data().await {
        let mut data = data?;
        receive.flow_control().release_capacity(data.len())?;
        while !data.is_empty() {
            send.reserve_capacity(data.len());
            if send.capacity() == 0 {
                match poll_fn(|cx| send.poll_capacity(cx)).await {
                    Some(capacity) => capacity?,
                    None => return Ok(()),
                };
            }
            let piece = data.split_to(send.capacity().min(data.len()));
            send.send_data(piece, false)?;
        }
    }
    Ok(())
}
