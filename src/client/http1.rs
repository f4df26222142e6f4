//! The handshake over HTTP/1.1.

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use hyper::{body::Incoming, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{beside::beside, deadline::Deadline, error::ConnectError};
use crate::{handshake::client::Offer, refused::collect, session::Transport};

/// Sends a handshake over a connection that has carried nothing yet.
///
/// The deadline is for the answer's head. A refusal whose body comes too late is still a refusal.
/// Dropping the future drops the connection.
pub(super) async fn open<T>(
    stream: T,
    head: Parts,
    offer: &Offer,
    deadline: Deadline,
) -> Result<Response<(Transport, Bytes)>, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ConnectError::http1)?;
    let request = Request::from_parts(head, String::new());
    let exchange = async {
        let answering = async {
            sender
                .send_request(request)
                .await
                .map_err(ConnectError::http1)
        };
        let response = deadline.limit(answering).await?;
        accepted(response, offer, deadline).await
    };
    let connection = connection.with_upgrades();
    let response = beside(connection, exchange).await?;
    Ok(response.map(|upgraded| Transport::hyper(upgraded, false)))
}

async fn accepted(
    mut response: Response<Incoming>,
    offer: &Offer,
    deadline: Deadline,
) -> Result<Response<Upgraded>, ConnectError> {
    if !offer.is_accepted(response.status()) {
        let response = collect(response, deadline.until()).await;
        return Err(ConnectError::Rejected(Box::new(response)));
    }
    let upgrading = hyper::upgrade::on(&mut response);
    let upgraded = deadline
        .limit(async { upgrading.await.map_err(ConnectError::http1) })
        .await?;
    Ok(response.map(|_| upgraded))
}

/// How large the head of a response may be.
const MAX_HEAD: usize = 64 << 10;
