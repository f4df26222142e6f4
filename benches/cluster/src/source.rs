//! Publishes with next to no CPU, for those who receive.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use crate::{
    Outcome,
    engine::{Engine, EngineKind},
};

/// A connection that publishes, written by hand.
pub(crate) struct Source {
    kind: EngineKind,
    stream: TcpStream,
    run: u64,
    /// The index of the next envelope to each topic.
    next: Vec<u32>,
}

/// Who seems to send.
#[derive(Clone, Copy)]
pub(crate) enum From {
    /// Another node.
    Other,
    /// This node, as its own echo.
    Node(u64),
    /// Another node, the same envelope again and again.
    Again,
}

impl Source {
    pub(crate) fn connect(engine: &Engine) -> Outcome<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, engine.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut source = Self {
            kind: engine.kind,
            stream,
            // Above those of sources before.
            run: std::time::UNIX_EPOCH.elapsed()?.as_nanos() as u64,
            next: Vec::new(),
        };
        if engine.kind == EngineKind::Nats {
            let hello = b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nPING\r\n";
            source.stream.write_all(hello)?;
            // The server's own word, and its answer.
            source.answers(2)?;
        }
        Ok(source)
    }

    /// Makes `count` envelopes with 100 bytes each to topics in turn, in bursts of so many.
    pub(crate) fn prepare(
        &mut self,
        topics: &[String],
        count: usize,
        from: From,
        burst: usize,
    ) -> Prepared {
        self.next.resize(topics.len().max(self.next.len()), 0);
        let mut bursts = vec![(Vec::new(), 0)];
        for at in 0..count {
            let topic = at % topics.len();
            let index = match from {
                From::Again => 0,
                _ => self.next[topic],
            };
            if matches!(from, From::Other) {
                self.next[topic] += 1;
            }
            let node = match from {
                From::Node(node) => node,
                From::Other | From::Again => OTHER,
            };
            if bursts
                .last()
                .is_some_and(|(_, envelopes)| *envelopes == burst)
            {
                bursts.push((Vec::new(), 0));
            }
            if let Some((bytes, envelopes)) = bursts.last_mut() {
                *envelopes += 1;
                put(
                    self.kind,
                    bytes,
                    &topics[topic],
                    &envelope(node, self.run, index),
                );
            }
        }
        if self.kind == EngineKind::Nats {
            for (bytes, _) in &mut bursts {
                bytes.extend(b"PING\r\n");
            }
        }
        Prepared(bursts)
    }

    /// Publishes all of it; after each burst it waits until the engine has it.
    pub(crate) fn send(&mut self, prepared: &Prepared) -> Outcome {
        for (bytes, envelopes) in &prepared.0 {
            self.stream.write_all(bytes)?;
            self.answers(match self.kind {
                EngineKind::Redis => *envelopes,
                EngineKind::Nats => 1,
            })?;
        }
        Ok(())
    }

    /// Waits for so many lines of answers.
    fn answers(&mut self, count: usize) -> Outcome {
        let (mut answers, mut lines) = ([0; 4096], 0);
        while lines < count {
            let read = self.stream.read(&mut answers)?;
            if read == 0 {
                return Err("the engine closed the connection of the source".into());
            }
            lines += answers[..read]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
        }
        Ok(())
    }

    /// Has a thread of its own publish what it is given.
    pub(crate) fn in_thread(mut self) -> mpsc::Sender<Arc<Prepared>> {
        let (orders, taken) = mpsc::channel::<Arc<Prepared>>();
        thread::spawn(move || {
            while let Ok(prepared) = taken.recv() {
                if let Err(error) = self.send(&prepared) {
                    // Whoever waits for it gives up in time.
                    eprintln!("source: {error}");
                    return;
                }
            }
        });
        orders
    }
}

/// Bursts, as they are on the wire, and how many envelopes each has.
pub(crate) struct Prepared(Vec<(Vec<u8>, usize)>);

fn put(kind: EngineKind, out: &mut Vec<u8>, topic: &str, envelope: &[u8]) {
    let len = envelope.len();
    let head = match kind {
        EngineKind::Redis => {
            format!(
                "*3\r\n$7\r\nPUBLISH\r\n${}\r\n{topic}\r\n${len}\r\n",
                topic.len()
            )
        }
        EngineKind::Nats => format!("PUB {topic} {len}\r\n"),
    };
    out.extend(head.as_bytes());
    out.extend(envelope);
    out.extend(b"\r\n");
}

/// Makes an envelope as it is documented: binary, with 100 bytes.
fn envelope(node: u64, run: u64, index: u32) -> Vec<u8> {
    let mut envelope = vec![1, 2, 0, 0];
    envelope.extend(node.to_le_bytes());
    envelope.extend(run.to_le_bytes());
    envelope.extend(index.to_le_bytes());
    envelope.resize(24 + PAYLOAD, b'x');
    envelope
}

/// The id of a node that does not exist.
const OTHER: u64 = 0x0123_4567_89ab_cdef;

/// The bytes of a message.
pub(crate) const PAYLOAD: usize = 100;
