/work/wt/house/loom/target/debug/deps/scoped_tls-129fd7cdfc96e8bd.d: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scoped-tls-1.0.1/src/lib.rs

/work/wt/house/loom/target/debug/deps/libscoped_tls-129fd7cdfc96e8bd.rmeta: /root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scoped-tls-1.0.1/src/lib.rs

/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/scoped-tls-1.0.1/src/lib.rs:
