//! Servers behind Sentinels.

use std::time::Duration;

use ::redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, Value};
use tokio::time::timeout;

use super::{
    connect::Access,
    fault,
    url::{RedisUrl, Server},
};
use crate::{
    cluster::backplane::BackplaneError,
    sync::atomic::{AtomicUsize, Ordering},
    trust::Trust,
};

/// Sentinels, and the name of the master that they watch.
#[derive(Debug)]
pub(super) struct Sentinels {
    urls: Vec<RedisUrl>,
    name: Box<str>,
    /// Which of them is asked first: the one that answered last, or the one behind it if it was wrong.
    first: AtomicUsize,
}

impl Sentinels {
    /// Takes the Sentinels, of which there is one at least.
    pub(super) fn new(urls: Vec<RedisUrl>, name: Box<str>) -> Self {
        Self {
            urls,
            name,
            first: AtomicUsize::new(0),
        }
    }

    /// Asks one after the other where the master is.
    pub(super) async fn master(&self, trust: &Trust) -> Result<Server, BackplaneError> {
        let first = self.first.load(Ordering::Relaxed);
        let mut last = None;
        for index in 0..self.urls.len() {
            let index = (first + index) % self.urls.len();
            match self.ask(&self.urls[index], trust).await {
                Ok(master) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(master);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| BackplaneError::connect("there is no Sentinel")))
    }

    /// Notes that the one that answered was wrong: it may be cut off from the others.
    pub(super) fn doubt(&self) {
        let next = self.first.load(Ordering::Relaxed) + 1;
        self.first.store(next % self.urls.len(), Ordering::Relaxed);
    }

    async fn ask(&self, sentinel: &RedisUrl, trust: &Trust) -> Result<Server, BackplaneError> {
        let access = Access {
            login: sentinel.login.clone(),
            trust: trust.clone(),
            limit: ASK,
            ..Access::default()
        };
        let RedisUrl { server, .. } = sentinel;
        let asking = async {
            let config = AsyncConnectionConfig::new();
            let connecting = access.connect(server, config, ProtocolVersion::RESP2);
            let mut command = Cmd::new();
            command
                .arg("SENTINEL")
                .arg("GET-MASTER-ADDR-BY-NAME")
                .arg(&*self.name);
            let answer = connecting.await?.ask(server, &command).await?;
            let address = address(&answer).map(|(host, port)| (host.into(), port));
            address.ok_or_else(|| {
                let words = format!("this Sentinel knows no master called {}", self.name);
                BackplaneError::connect(fault::said(server, words))
            })
        };
        let late = |_| BackplaneError::connect(fault::said(server, "no answer within 2 seconds"));
        let (host, port) = timeout(ASK, asking).await.map_err(late)??;
        Ok(Server {
            host,
            port,
            tls: server.tls,
        })
    }
}

/// Reads the answer; `None` where there is no such master.
fn address(answer: &Value) -> Option<(&str, u16)> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let [Value::BulkString(host), Value::BulkString(port)] = parts.as_slice() else {
        return None;
    };
    let port = str::from_utf8(port).ok()?.parse().ok()?;
    Some((str::from_utf8(host).ok()?, port))
}

/// How long one Sentinel may take, so that the others have their turn.
const ASK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentinel_answers_with_host_and_port_or_knows_no_such_master() {
        let text = |text: &str| Value::BulkString(text.into());
        let answer = Value::Array(vec![text("10.0.0.1"), text("6380")]);
        assert_eq!(address(&answer), Some(("10.0.0.1", 6380)));
        for answer in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![text("h")]),
            Value::Array(vec![text("h"), text("x")]),
            Value::Array(vec![text("h"), text("70000")]),
            Value::Array(vec![Value::BulkString(vec![0xff]), text("1")]),
        ] {
            assert_eq!(address(&answer), None, "{answer:?}");
        }
    }
}
