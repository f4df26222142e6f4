/work/wt/house/loom/target/debug/deps/tower_websocket_loom-d9538e3f37d7d348.d: src/lib.rs

/work/wt/house/loom/target/debug/deps/libtower_websocket_loom-d9538e3f37d7d348.rmeta: src/lib.rs

src/lib.rs:
