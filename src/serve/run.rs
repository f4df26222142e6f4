//! Running a server: accepting connections until it stops.

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    app::Application,
    builder::Serve,
    capacity::Capacity,
    connection::{self, Server},
    http::{ALPN, Http},
    listen::Listen,
    listener::{self, Listener},
    settings::Settings,
    stop::{self, Race, Stopped, race},
};
use crate::service::{Registries, ServerPermit};

impl<L, S, F> IntoFuture for Serve<L, S, F>
where
    L: Listen,
    S: Application<<L::Listener as Listener>::Addr>,
    F: Future<Output = ()> + Send + 'static,
{
    type Output = io::Result<Stopped>;
    type IntoFuture = ServeFuture;

    fn into_future(self) -> ServeFuture {
        let listening = self.listener.listen();
        ServeFuture(Box::pin(run(
            listening,
            self.app,
            self.signal,
            self.settings,
        )))
    }
}

/// A running server: the future of [`Serve`].
#[must_use = "futures do nothing unless polled"]
pub struct ServeFuture(Pin<Box<dyn Future<Output = io::Result<Stopped>> + Send>>);

impl Future for ServeFuture {
    type Output = io::Result<Stopped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for ServeFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServeFuture")
    }
}

async fn run<L, S, F>(
    listening: impl Future<Output = io::Result<L>>,
    app: S,
    signal: F,
    settings: Settings,
) -> io::Result<Stopped>
where
    L: Listener,
    S: Application<L::Addr>,
    F: Future<Output = ()> + Send + 'static,
{
    let drain = settings.drain.clone();
    let mut capacity = Capacity::new(settings.max_connections);
    let server = Arc::new(server(settings));
    let mut listener = listening.await?;
    let (stopper, stop) = stop::channel();
    let mut signal = pin!(signal);
    let ended = loop {
        match race(signal.as_mut(), accept(&mut listener, &mut capacity)).await {
            Race::First(()) => break Ok(()),
            Race::Second(Err(error)) => break Err(error),
            Race::Second(Ok((stream, address, permit))) => {
                if let Some(tcp) = L::tcp(&stream) {
                    server.tcp.set(tcp);
                }
                let context = connection::Context {
                    server: server.clone(),
                    stop: stop.clone(),
                    permit,
                };
                let app = app.clone();
                tokio::spawn(connection::run::<L, S>(context, stream, address, app));
            }
        }
    };
    drop((listener, stop));
    let registries = server.registries.as_ref().map(Registries::take);
    let stopped = stopper.stop(registries.unwrap_or_default(), &drain);
    let stopped = stopped.await;
    ended.map(|()| stopped)
}

/// Makes what all connections share.
fn server(settings: Settings) -> Server {
    Server {
        http: Http::new(&settings),
        limits: settings.limits(),
        tls: settings.tls.map(with_alpn).map(TlsAcceptor::from),
        registries: settings.connections.map(Registries::new),
        proxy: settings.proxy,
        tcp: settings.tcp,
        on_end: settings.on_end,
    }
}

/// Waits until there is room for a connection, and for the next one.
async fn accept<L: Listener>(
    listener: &mut L,
    capacity: &mut Capacity,
) -> io::Result<(L::Io, L::Addr, Option<ServerPermit>)> {
    let permit = capacity.wait().await;
    let (stream, address) = listener::accept(listener).await?;
    Ok((stream, address, permit))
}

/// Names the protocols that are spoken here, unless the configuration does.
fn with_alpn(mut config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    if config.alpn_protocols.is_empty() {
        let protocols = ALPN.iter().map(|protocol| protocol.to_vec());
        Arc::make_mut(&mut config).alpn_protocols = protocols.collect();
    }
    config
}
