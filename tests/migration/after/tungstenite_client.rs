use std::{env, error::Error};

use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tower_websocket::{CloseCode, Message, client::Client};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).expect("a URL");
    let request = http::Request::get(url).header("authorization", "Bearer secret");
    let mut socket = Client::new().connect(request.body(())?).await?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut typing = true;
    loop {
        tokio::select! {
            line = lines.next_line(), if typing => match line? {
                Some(line) => socket.send(line).await?,
                None => {
                    socket.close(CloseCode::NORMAL);
                    typing = false;
                }
            },
            message = socket.recv() => match message {
                Ok(Some(Message::Text(text))) => println!("{text}"),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    eprintln!("{error}");
                    std::process::exit(1); // `return` would wait for another line
                }
            },
        }
    }
    if let Some(frame) = socket.received_close() {
        println!("closed: {} {}", frame.code(), frame.reason());
    }
    Ok(())
}
