//! What it takes to give Redis an order: a connection per order, no crate that the library uses, too.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tower::BoxError;

/// A reply, flattened to its strings: enough for what the harness asks.
pub(super) type Reply = Vec<String>;

/// Gives one order.
pub(super) async fn ask(port: u16, order: &[&str]) -> Result<Reply, BoxError> {
    let mut replies = ask_all(
        port,
        &[order.iter().map(|part| (*part).to_owned()).collect()],
    )
    .await?;
    replies.pop().ok_or_else(|| "no reply".into())
}

/// Gives orders in one pipeline; the first that Redis refuses is an error.
pub(super) async fn ask_all(port: u16, orders: &[Vec<String>]) -> Result<Vec<Reply>, BoxError> {
    timeout(Duration::from_secs(5), exchange(port, orders))
        .await
        .map_err(|_| format!("redis at {port} does not answer to {:?}", orders.first()))?
}

async fn exchange(port: u16, orders: &[Vec<String>]) -> Result<Vec<Reply>, BoxError> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let mut stream = BufReader::new(stream);
    let mut written = Vec::new();
    for order in orders {
        written.extend_from_slice(format!("*{}\r\n", order.len()).as_bytes());
        for part in order {
            written.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
        }
    }
    stream.write_all(&written).await?;
    let mut replies = Vec::new();
    for order in orders {
        let mut reply = Vec::new();
        read(&mut stream, &mut reply)
            .await
            .map_err(|error| format!("redis at {port}, to {order:?}: {error}"))?;
        replies.push(reply);
    }
    Ok(replies)
}

/// Reads one reply of RESP2.
async fn read(stream: &mut BufReader<TcpStream>, reply: &mut Reply) -> Result<(), BoxError> {
    let mut left = 1_u64;
    while left > 0 {
        left -= 1;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or("the connection ended")?;
        match (kind, rest) {
            ("+" | ":", _) => reply.push(rest.to_owned()),
            ("-", _) => return Err(rest.into()),
            ("*" | "$", "-1") => reply.push(String::new()),
            ("*", _) => left += rest.parse::<u64>()?,
            ("$", _) => {
                let mut bytes = vec![0; rest.parse::<usize>()? + 2];
                stream.read_exact(&mut bytes).await?;
                bytes.truncate(bytes.len() - 2);
                reply.push(String::from_utf8_lossy(&bytes).into_owned());
            }
            _ => return Err(format!("what is {line:?}?").into()),
        }
    }
    Ok(())
}
