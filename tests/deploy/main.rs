//! A server behind a proxy, and what a browser meets that comes through it. `tests/deploy/run` starts the proxies.
//!
//! - `deploy certificate DIRECTORY` writes `fullchain.pem` and `key.pem` for `chat.example.com`.
//! - `deploy check DIRECTORY NAME PROXY SERVER CLIENT=SERVER.. [OPTION..]` serves at the address SERVER and connects
//!   to PROXY, with TLS, as a page of `https://chat.example.com` does. Each `2=1` says which HTTP a client comes with
//!   and which one reaches the server; `2=none` says that the proxy has no WebSocket over HTTP/2. The options: `cuts` if
//!   the proxy ends a connection after a second of silence, `passes-tls` and `proxy-protocol` if that is what the
//!   proxy does, `other-address` if it forwards a client of this machine as another address of it.

mod browser;
mod checks;
mod pem;
mod server;

use std::{env, error::Error, fs, net::SocketAddr, path::PathBuf, process::ExitCode};

use browser::Browser;
use checks::Expected;
use pem::pem;
use tower_websocket::client::HttpVersion;

/// What pages and certificates know the server as.
const HOST: &str = "chat.example.com";

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(env::args().skip(1).collect()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Vec<String>) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["certificate", directory] => certificate(directory.into()),
        ["check", directory, name, proxy, server, ref rest @ ..] => {
            let task = Task {
                directory: directory.into(),
                name,
                proxy: proxy.parse()?,
                server: server.parse()?,
                rest,
            };
            task.run().await
        }
        _ => Err(
            "usage: deploy certificate DIRECTORY | deploy check DIRECTORY NAME PROXY SERVER .."
                .into(),
        ),
    }
}

fn certificate(directory: PathBuf) -> Result<(), Failure> {
    let made = rcgen::generate_simple_self_signed([HOST.to_owned()])?;
    fs::write(
        directory.join("fullchain.pem"),
        pem("CERTIFICATE", made.cert.der()),
    )?;
    fs::write(
        directory.join("key.pem"),
        pem("PRIVATE KEY", &made.signing_key.serialize_der()),
    )?;
    Ok(())
}

/// One proxy to be checked.
struct Task<'a> {
    directory: PathBuf,
    name: &'a str,
    proxy: SocketAddr,
    server: SocketAddr,
    rest: &'a [&'a str],
}

impl Task<'_> {
    async fn run(&self) -> Result<(), Failure> {
        let has = |option: &str| self.rest.contains(&option);
        let tls = has("passes-tls").then_some(&*self.directory);
        let seen = server::start(self.server, tls, has("proxy-protocol")).await?;
        let pem = fs::read(self.directory.join("fullchain.pem"))?;
        let ways = self.rest.iter().filter_map(|way| way.split_once('='));
        for (client, server) in ways {
            let version = if client == "1" {
                HttpVersion::Http1
            } else {
                HttpVersion::Http2
            };
            let expected = Expected {
                server: (server != "none")
                    .then(|| format!("HTTP/{}", if server == "1" { "1.1" } else { "2.0" })),
                cuts: has("cuts"),
                announced: has("proxy-protocol"),
                passes: has("passes-tls"),
                other_address: has("other-address"),
            };
            let browser = Browser::new(self.proxy, &pem, version)?;
            let said = checks::run(&browser, &expected, &seen).await;
            let said = said.map_err(|error| format!("{}, HTTP/{client}: {error}", self.name))?;
            println!("{:<12} {said}", self.name);
        }
        Ok(())
    }
}
