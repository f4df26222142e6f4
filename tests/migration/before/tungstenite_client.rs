use std::{env, error::Error};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).expect("a URL");
    let mut request = url.into_client_request()?;
    let token = "Bearer secret".parse()?;
    request.headers_mut().insert("authorization", token);
    let (mut socket, _response) = connect_async(request).await?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut typing = true;
    loop {
        tokio::select! {
            line = lines.next_line(), if typing => match line? {
                Some(line) => socket.send(line.into()).await?,
                None => {
                    let frame = CloseFrame {
                        code: CloseCode::Normal,
                        reason: "".into(),
                    };
                    socket.close(Some(frame)).await?;
                    typing = false;
                }
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => println!("{text}"),
                Some(Ok(Message::Close(Some(frame)))) => {
                    println!("closed: {} {}", frame.code, frame.reason);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    eprintln!("{error}");
                    std::process::exit(1); // `return` would wait for another line
                }
                None => return Ok(()),
            },
        }
    }
}
