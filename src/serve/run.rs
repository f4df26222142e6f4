//! Running a server: accepting connections until it stops.

use std::{
    fmt,
    future::{Future, IntoFuture},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use ::http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tower::{BoxError, Service};

use super::{
    app::{App, AppBody},
    builder::Serve,
    connection::{self, Server},
    http::{ALPN, Http},
    listener::{self, Listener},
    stop::{self, Race, Stopped, race},
};
use crate::service::Registries;

impl<L, S, F, B> IntoFuture for Serve<L, S, F>
where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
    F: Future<Output = ()> + Send + 'static,
{
    type Output = io::Result<Stopped>;
    type IntoFuture = ServeFuture;

    fn into_future(self) -> ServeFuture {
        ServeFuture(Box::pin(run(self)))
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

async fn run<L, S, F, B>(serve: Serve<L, S, F>) -> io::Result<Stopped>
where
    L: Listener,
    S: App<B>,
    B: AppBody,
    F: Future<Output = ()> + Send + 'static,
{
    let Serve {
        mut listener,
        app,
        signal,
        settings,
    } = serve;
    let limits = settings.limits();
    let server = Arc::new(Server {
        http: Http::new(&settings),
        tls: settings.tls.map(with_alpn).map(TlsAcceptor::from),
        registries: settings.connections.map(Registries::new),
        limits,
    });
    let (stopper, stop) = stop::channel();
    let mut signal = pin!(signal);
    let ended = loop {
        match race(signal.as_mut(), listener::accept(&mut listener)).await {
            Race::First(()) => break Ok(()),
            Race::Second(Err(error)) => break Err(error),
            Race::Second(Ok((stream, address))) => {
                let (server, app, stop) = (server.clone(), app.clone(), stop.clone());
                tokio::spawn(connection::run::<L, S, B>(
                    server, stream, address, app, stop,
                ));
            }
        }
    };
    drop((listener, stop));
    let registries = server.registries.as_ref().map(Registries::take);
    let stopped = stopper.stop(registries.unwrap_or_default(), &settings.drain);
    let stopped = stopped.await;
    ended.map(|()| stopped)
}

/// Names the protocols that are spoken here, unless the configuration does.
fn with_alpn(mut config: Arc<ServerConfig>) -> Arc<ServerConfig> {
    if config.alpn_protocols.is_empty() {
        let protocols = ALPN.iter().map(|protocol| protocol.to_vec());
        Arc::make_mut(&mut config).alpn_protocols = protocols.collect();
    }
    config
}
