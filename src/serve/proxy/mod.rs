//! The PROXY protocol: what a proxy says first about the client whose connection it carries on.
//!
//! "The PROXY protocol, Versions 1 & 2" (HAProxy's `doc/proxy-protocol.txt`).

mod step;
mod v1;
mod v2;

pub use step::ProxyError;

use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) use self::step::Announced;
use self::step::Step;

/// Reads a header, and nothing behind it.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Announced, ProxyError> {
    let mut header = [0; LONGEST];
    let mut len = 0;
    let (announced, behind) = loop {
        match decode(&header[..len])? {
            Step::Done(announced, behind) => break (announced, behind),
            Step::More(more) => {
                // A step asks for no more than the longest header has.
                let end = (len + more).min(LONGEST);
                stream
                    .read_exact(&mut header[len..end])
                    .await
                    .map_err(ProxyError::Io)?;
                len = end;
            }
        }
    };
    skip(stream, behind).await?;
    Ok(announced)
}

/// Reads bytes that say nothing of interest.
async fn skip(stream: &mut (impl AsyncRead + Unpin), mut bytes: usize) -> Result<(), ProxyError> {
    let mut piece = [0; 256];
    while bytes > 0 {
        let len = bytes.min(piece.len());
        stream
            .read_exact(&mut piece[..len])
            .await
            .map_err(ProxyError::Io)?;
        bytes -= len;
    }
    Ok(())
}

/// Reads the front of a header.
///
/// # Errors
///
/// It cannot become one, whatever follows.
fn decode(header: &[u8]) -> Result<Step, ProxyError> {
    let begins = |with: &[u8]| header.iter().zip(with).all(|(is, should)| is == should);
    if begins(v2::SIGNATURE) {
        v2::decode(header)
    } else if begins(v1::SIGNATURE) {
        v1::decode(header)
    } else {
        Err(ProxyError::Missing)
    }
}

/// What has to be looked at of either, in bytes.
const LONGEST: usize = v1::LONGEST;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests;
