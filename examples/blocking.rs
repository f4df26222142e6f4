//! Without a runtime: an echo server with a thread for each connection, and a client.
//!
//! Run: `cargo run --example blocking --features blocking -- serve 127.0.0.1:8080`, then in another terminal
//! `cargo run --example blocking --features blocking -- connect 127.0.0.1:8080 Hello`

use std::{
    env,
    error::Error,
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use tower_websocket::{CloseCode, Config, Message, blocking};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", address] => serve(address),
        ["connect", address, ref texts @ ..] => connect(address, texts),
        _ => Err("serve ADDRESS, or connect ADDRESS TEXT...".into()),
    }
}

fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // One that was aborted before it was accepted is not the server's end. With too many open
                // files it fails again at once.
                eprintln!("not accepted: {error}");
                thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        thread::spawn(|| {
            if let Err(error) = echo(stream) {
                eprintln!("{error}");
            }
        });
    }
    Ok(())
}

fn echo(stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut socket = blocking::accept(prepared(stream)?, &Config::default())?;
    while let Some(message) = next(&mut socket)? {
        socket.send(message)?;
    }
    Ok(())
}

fn connect(address: &str, texts: &[&str]) -> Result<(), Box<dyn Error>> {
    let stream = prepared(TcpStream::connect(address)?)?;
    let uri = format!("ws://{address}/");
    let mut socket = blocking::connect(stream, uri, &Config::default())?;
    for text in texts {
        socket.send(*text)?;
        println!("{:?}", next(&mut socket)?);
    }
    socket.close(CloseCode::NORMAL)?;
    Ok(())
}

/// Waits for the next message. Each second in which none comes, deadlines are looked at.
fn next(
    socket: &mut blocking::WebSocket<TcpStream>,
) -> Result<Option<Message>, tower_websocket::Error> {
    loop {
        match socket.recv() {
            Err(error) if blocking::may_repeat(&error) => {}
            result => return result,
        }
    }
}

fn prepared(stream: TcpStream) -> Result<TcpStream, std::io::Error> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    Ok(stream)
}
