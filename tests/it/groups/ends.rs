//! Connections that end while a broadcast or a farewell is under way.

use tokio::task::yield_now;
use tower_websocket::{CloseCode, Config, Groups, WebSocket, testing};

use super::delivery;

fn pair() -> (WebSocket, WebSocket) {
    testing::pair(Config::default().ping_interval(None))
}

#[tokio::test(start_paused = true)]
async fn who_is_left_out_has_ended_and_no_other_connection_is_taken_for_it() {
    let rooms: Groups<u8> = Groups::new();
    let (_client, server) = pair();
    let _stays = rooms.join(0, &server.sender()).unwrap();
    // A new connection comes to lie where another one has lain, now and then.
    for round in 0..200 {
        let (client, ended) = pair();
        let broadcast = rooms.broadcast_except(&0, "news", &ended.sender());
        let closing = rooms.close_except(&0, CloseCode::NORMAL, &ended.sender());
        drop((client, ended));
        for _ in 0..50 {
            yield_now().await;
        }
        let all: Vec<_> = (0..4).map(|_| pair()).collect();
        let join = |one: &WebSocket| rooms.join(0, &one.sender()).unwrap();
        let members: Vec<_> = all.iter().map(|(_, server)| join(server)).collect();
        assert_eq!(broadcast.await, delivery(5, 0, 0), "in round {round}");
        if round == 199 {
            assert_eq!(closing.await, delivery(0, 0, 5));
        }
        drop((members, all));
        for _ in 0..50 {
            yield_now().await;
        }
    }
}
