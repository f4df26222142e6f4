//! The response that refused a client, with some of its body.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::Response;
use http_body::Body;
use tokio::{
    task::coop::consume_budget,
    time::{Instant, timeout_at},
};

/// Reads a refusal's body, as far as it is of interest and comes in time.
pub(crate) async fn collect<B: Body>(
    response: Response<B>,
    until: Option<Instant>,
) -> Response<Bytes> {
    let (head, body) = response.into_parts();
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    let reading = async {
        while bytes.len() < MAX_REFUSAL
            && let Some(Ok(frame)) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await
        {
            if let Ok(mut data) = frame.into_data() {
                let len = data.remaining().min(MAX_REFUSAL - bytes.len());
                bytes.extend_from_slice(&data.copy_to_bytes(len));
            }
            consume_budget().await;
        }
    };
    in_time(until, reading).await;
    Response::from_parts(head, bytes.into())
}

/// Limits the time for reading a refusal's body. What is read without a pause has to consume the
/// task's budget: the clock is never looked at otherwise.
pub(crate) async fn in_time(until: Option<Instant>, reading: impl Future<Output = ()>) {
    let patience = Instant::now() + REFUSAL_PATIENCE;
    let until = until.map_or(patience, |until| until.min(patience));
    let _late = timeout_at(until, reading).await;
}

/// How long a refusal's body is waited for. Its head says all that a program goes by, and a body that
/// comes does so behind it.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(1);

/// How much of a refusal is kept, in bytes.
pub(crate) const MAX_REFUSAL: usize = 64 << 10;
