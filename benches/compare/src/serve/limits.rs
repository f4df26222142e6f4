//! The limits: what is left when there is no WebSocket at all.

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::incoming::Incoming;
use super::{BoxError, Job};

pub(super) async fn serve(incoming: Incoming, job: Job) -> Result<(), BoxError> {
    if job.http2 {
        data(incoming).await
    } else {
        bytes(incoming).await
    }
}

/// Bytes come back as they are.
async fn bytes(incoming: Incoming) -> Result<(), BoxError> {
    loop {
        let mut stream = incoming.accept().await;
        tokio::spawn(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..len]).await.is_err() {
                    break;
                }
                stream.flush().await.ok();
            }
        });
    }
}

/// The DATA of HTTP/2 streams comes back as it is.
async fn data(incoming: Incoming) -> Result<(), BoxError> {
    loop {
        let stream = incoming.accept().await;
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await?;
            while let Some(request) = connection.accept().await {
                let (request, mut respond) = request?;
                let send = respond.send_response(Response::new(()), false)?;
                tokio::spawn(echo_data(request.into_body(), send));
            }
            Ok::<(), h2::Error>(())
        });
    }
}

async fn echo_data(mut receive: RecvStream, mut send: SendStream<Bytes>) -> Result<(), h2::Error> {
    while let Some(data) = receive.data().await {
        let mut data = data?;
        receive.flow_control().release_capacity(data.len())?;
        while !data.is_empty() {
            send.reserve_capacity(data.len());
            if send.capacity() == 0 {
                match std::future::poll_fn(|cx| send.poll_capacity(cx)).await {
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
