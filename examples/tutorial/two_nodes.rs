//! Two nodes in one process, over an engine in memory.

use serde_json::json;
use tower_websocket::{
    cluster::{Cluster, Memory},
    testing,
};

use crate::{
    App, app,
    shared::Sessions,
    tests::{Result, handshake, next, sees},
};

#[tokio::test(start_paused = true)]
async fn members_of_two_nodes_share_a_room() -> Result {
    let (engine, sessions) = (Memory::new(), Sessions::default());
    let [here, there] = [engine.clone(), engine.link()].map(|link| {
        let cluster = Cluster::start("chat", link);
        app(App::on(&cluster, sessions.clone()))
    });

    let ann = handshake(&here, "name=ann&password=apple", false).await?;
    let (_, mut ann) = testing::connect(here.clone(), ann).await?;
    let ben = handshake(&here, "name=ben&password=banana", true).await?; // logs in here
    let (_, mut ben) = testing::connect(there, ben).await?; // and enters there
    sees(&mut ann, &["ben"]).await?;
    sees(&mut ben, &["ann"]).await?;

    ann.send("hello").await?;
    let said = json!({ "type": "said", "name": "ann", "text": "hello" });
    while next(&mut ben).await? != said {}

    engine.cut(); // the engine is away for ann's node
    ann.send("alone?").await?;
    let said = json!({ "type": "said", "name": "ann", "text": "alone?" });
    while next(&mut ann).await? != said {}
    Ok(())
}
