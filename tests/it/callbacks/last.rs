//! The very last callback, where no other one came before, and at the end of the runtime.

use tokio::runtime::Builder;
use tower_websocket::Connections;

use super::{By, Notes, connect};
use crate::{
    crowd::until,
    session::support::{SHAPES, close, idle, text},
};

#[tokio::test(start_paused = true)]
async fn end_is_told_where_the_opening_panicked() {
    for shape in SHAPES {
        for by in By::ALL {
            let notes = Notes::default();
            let connections = Connections::new();
            let layer = by.layer(&notes).connections(&connections);
            let mut peer = connect(layer, shape, &["x-panic"]).await;
            assert_eq!(peer.frame().await.code(), Some(1011));
            peer.send(close(1011, "")).await;
            peer.finish().await;
            assert_eq!(peer.next().await, None);
            until(|| connections.is_empty()).await;
            assert_eq!(notes.lines(), ["open", "end"]);
            assert_eq!(notes.alive(), 0);
        }
    }
}

#[test]
fn end_of_the_runtime_drops_callbacks_where_they_wait_and_is_the_end() {
    for shape in SHAPES {
        for by in By::ALL {
            let notes = Notes::default();
            let layer = by.layer(&notes);
            let mut builder = Builder::new_current_thread();
            let runtime = builder.enable_all().start_paused(true).build().unwrap();
            let peer = runtime.block_on(async {
                let mut peer = connect(layer, shape, &[]).await;
                peer.send([text("a"), text("sleep")].concat()).await;
                idle().await;
                peer
            });
            assert_eq!(notes.lines(), ["open", "a"]);
            drop(runtime);
            assert_eq!(notes.lines(), ["open", "a", "end"]);
            assert_eq!(notes.alive(), 0);
            drop(peer);
        }
    }
}
