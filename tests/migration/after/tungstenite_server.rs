use std::{env, error::Error, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tower_websocket::{CloseCode, Config, Groups, Message, serve};

async fn talk(stream: TcpStream, rooms: Groups) -> Result<(), Box<dyn Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let request = serve::accept(stream, Config::default()).await?;
    let room = request.uri().path().to_owned();
    let mut socket = request.into_body();
    let membership = rooms.join(room.clone(), &socket.sender())?;
    let _membership = membership.on_leave("left");

    while let Some(message) = socket.recv().await? {
        match &message {
            Message::Text(text) if text == "quit" => {
                let code = CloseCode::new(4001).expect("4001 is the application's");
                socket.close((code, "as you wish"));
            }
            _ => drop(rooms.broadcast(&room, message).await),
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = env::args().nth(1).expect("an address");
    let listener = TcpListener::bind(address).await?;
    let rooms = Groups::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(talk(stream, rooms.clone()))),
            Err(error) => {
                eprintln!("cannot accept: {error}"); // no descriptor is left, for example
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
