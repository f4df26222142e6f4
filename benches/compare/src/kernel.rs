//! What the kernel of this machine costs: with it the tables of two machines can be read together.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::process::run_on;

/// Microseconds of a thread's CPU for one call, the median of many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    /// A `send` of 20 bytes over 127.0.0.1 to a thread that sleeps until they come.
    pub(crate) send: f64,
    /// A `recv` of 20 bytes that are there.
    pub(crate) recv: f64,
}

/// Measures both; server and peer have a core each if `pinned`.
pub(crate) fn measure(pinned: bool) -> io::Result<Kernel> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let peer = TcpStream::connect(listener.local_addr()?)?;
    let (mut ours, _) = listener.accept()?;
    for stream in [&ours, &peer] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    }
    let peer = thread::spawn(move || {
        run_on(pinned.then_some(1));
        answer(peer)
    });
    let measured = thread::spawn(move || {
        run_on(pinned.then_some(0));
        calls(&mut ours)
    });
    let kernel = measured.join().map_err(|_| io::ErrorKind::Other)?;
    // It ends with the connection.
    let _ended = peer.join();
    kernel
}

/// Sends everything back, and sleeps until more comes.
fn answer(mut peer: TcpStream) -> io::Result<()> {
    let mut buffer = [0; LEN];
    loop {
        peer.read_exact(&mut buffer)?;
        peer.write_all(&buffer)?;
    }
}

fn calls(ours: &mut TcpStream) -> io::Result<Kernel> {
    let (mut clocks, mut sends, mut recvs) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = [0; LEN];
    for _ in 0..COUNT {
        let start = on_core();
        clocks.push(on_core() - start);
        let start = on_core();
        ours.write_all(&buffer)?;
        sends.push(on_core() - start);
        // Sleeps until it is there; the peer sleeps by then, too.
        ours.peek(&mut buffer)?;
        let start = on_core();
        ours.read_exact(&mut buffer)?;
        recvs.push(on_core() - start);
    }
    let clock = middle(clocks);
    Ok(Kernel {
        send: middle(sends) - clock,
        recv: middle(recvs) - clock,
    })
}

/// The median in microseconds.
fn middle(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// How long this thread has run.
fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

const LEN: usize = 20;
const COUNT: usize = 5_000;
