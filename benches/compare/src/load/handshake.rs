//! Connections that come and go.

use std::io;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::upgraded;
use super::frame::{bad, frame};
use super::{Outcome, Progress, Target};

/// A Close frame with 1000.
const OPCODE_CLOSE: u8 = 0x88;

/// Connect, opening handshake, closing handshake, again.
pub(super) async fn run(target: &Target, at_once: usize) -> io::Result<Outcome> {
    let progress = Rc::new(Progress::default());
    for worker in 0..at_once {
        let (shared, target) = (progress.clone(), target.clone());
        progress.spawn(async move {
            // Spread over the addresses to come from.
            let mut index = worker * 4_000;
            loop {
                once(&target, index).await?;
                shared.add(1);
                index += at_once * 4_000;
            }
        });
    }
    progress.measure(target).await
}

async fn once(target: &Target, index: usize) -> io::Result<()> {
    let mut stream = upgraded(target, index, None).await?;
    let close = frame(
        OPCODE_CLOSE,
        &1000_u16.to_be_bytes(),
        [0x12, 0x34, 0x56, 0x78],
    );
    stream.write_all(&close).await?;
    stream.flush().await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    if answer[0] != OPCODE_CLOSE {
        return Err(bad("no Close frame"));
    }
    Ok(())
}
