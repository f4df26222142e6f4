//! Streams out of the boxes that they come in.

use std::any::Any;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::io::{AsyncRead, AsyncWrite};

/// Takes a stream as what it is.
pub(super) fn downcast_to<T: 'static, U: 'static>(stream: U) -> Result<T, U> {
    let mut stream = Some(stream);
    let known = (&mut stream as &mut dyn Any).downcast_mut::<Option<T>>();
    match (known.and_then(Option::take), stream) {
        (Some(known), _) => Ok(known),
        (None, Some(stream)) => Err(stream),
        (None, None) => unreachable!("it is taken only as what it is"),
    }
}

/// Takes a stream out of hyper's box, as hyper's own servers and hyper-util's leave it.
pub(super) fn downcast<T>(upgraded: Upgraded) -> Result<(T, Bytes), Upgraded>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let upgraded = match upgraded.downcast::<TokioIo<T>>() {
        Ok(parts) => return Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => upgraded,
    };
    let parts = auto::upgrade::downcast::<TokioIo<T>>(upgraded)?;
    Ok((parts.io.into_inner(), parts.read_buf))
}
