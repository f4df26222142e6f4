//! One connection, from its first byte to its last or to the 101.

use std::{
    future::{Future, pending},
    marker::PhantomData,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ::http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::{BoxError, Service};

use super::{
    http::Http,
    listener::Listener,
    stop::{Race, Stop, race},
};
use crate::service::Registries;

/// What all connections of a server share.
pub(super) struct Server {
    pub(super) http: Http,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) registries: Option<Registries>,
    pub(super) header_timeout: Option<Duration>,
}

/// Serves a connection of a listener until it ends.
pub(super) async fn run<L, S, B>(
    server: Arc<Server>,
    stream: L::Io,
    address: L::Addr,
    app: S,
    mut stop: Stop,
) where
    L: Listener,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let first = First::default();
    let service = Serving::<L, S> {
        app: TowerToHyperService::new(app),
        address,
        registries: server.registries.clone(),
        first: first.clone(),
        listener: PhantomData,
    };
    let Some(tls) = &server.tls else {
        return log(http(
            &server.http,
            server.header_timeout,
            stream,
            service,
            &first,
            stop,
        )
        .await);
    };
    let handshake = within(server.header_timeout, tls.accept(stream));
    match race(stop.stopping(), handshake).await {
        Race::First(()) => {}
        Race::Second(None) => tracing::debug!("a TLS handshake took too long"),
        Race::Second(Some(Err(error))) => tracing::debug!(%error, "a TLS handshake failed"),
        Race::Second(Some(Ok(stream))) => {
            log(http(
                &server.http,
                server.header_timeout,
                stream,
                service,
                &first,
                stop,
            )
            .await);
        }
    }
}

/// Speaks HTTP until the connection ends, or has to.
pub(super) async fn http<T, S, B>(
    http: &Http,
    header_timeout: Option<Duration>,
    stream: T,
    service: S,
    first: &First,
    mut stop: Stop,
) -> Result<(), Failure>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut connection = pin!(http.serve(stream, service));
    let late = first.is_late(header_timeout);
    let is_late = match race(connection.as_mut(), race(stop.stopping(), late)).await {
        Race::First(result) => return result.map_err(Failure::http),
        Race::Second(Race::First(())) => false,
        Race::Second(Race::Second(())) => true,
    };
    connection.as_mut().graceful_shutdown();
    if is_late {
        let _gone = race(connection, sleep(GOODBYE)).await;
        return Err(Failure::Late);
    }
    match race(connection, stop.aborting()).await {
        Race::First(result) => result.map_err(Failure::http),
        Race::Second(()) => Err(Failure::Aborted),
    }
}

/// Why a connection did not end by itself.
#[derive(Debug)]
pub(super) enum Failure {
    Http(BoxError),
    /// No request came in time.
    Late,
    /// The server stopped.
    Aborted,
}

impl Failure {
    fn http(error: impl Into<BoxError>) -> Self {
        Self::Http(error.into())
    }
}

fn log(result: Result<(), Failure>) {
    match result {
        Ok(()) => {}
        Err(Failure::Http(error)) => tracing::debug!(%error, "a connection failed"),
        Err(Failure::Late) => tracing::debug!("a connection brought no request in time"),
        Err(Failure::Aborted) => tracing::debug!("a connection was aborted"),
    }
}

/// Whether a connection has brought a request.
#[derive(Clone, Default)]
pub(super) struct First(Arc<AtomicBool>);

impl First {
    pub(super) fn came(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Ready when it has not within that time, else never.
    ///
    /// hyper's own deadline begins when it knows the HTTP version, and for HTTP/2 there is none.
    pub(super) async fn is_late(&self, limit: Option<Duration>) {
        if let Some(limit) = limit {
            sleep(limit).await;
            if !self.0.load(Ordering::Relaxed) {
                return;
            }
        }
        pending().await
    }
}

/// Waits for a future, with a limit or without.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

/// The application, as one connection sees it.
struct Serving<L: Listener, S> {
    app: TowerToHyperService<S>,
    address: L::Addr,
    registries: Option<Registries>,
    first: First,
    listener: PhantomData<fn() -> L>,
}

impl<L, S> hyper::service::Service<Request<Incoming>> for Serving<L, S>
where
    L: Listener,
    S: Service<Request<Incoming>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TowerToHyperServiceFuture<S, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.first.came();
        let extensions = request.extensions_mut();
        L::extend(&self.address, extensions);
        if let Some(registries) = &self.registries {
            extensions.insert(registries.clone());
        }
        self.app.call(request)
    }
}

/// What a client without a request has to read the GOAWAY.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);
