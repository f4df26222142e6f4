//! One connection, from its first byte to its last or to the 101.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use ::http::{Extensions, Request};
use hyper::body::Incoming;
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tower::{BoxError, Service};

use super::{
    app::{AppBody, Application, HyperApp},
    expired::Expired,
    http::Http,
    line::{Line, TimeLimits},
    listener::Listener,
    proxy::{self, Announced},
    report::{ConnectionEnd, EndHook, Ending, Reported},
    stop::{Race, Stop, race},
    tcp::TcpOptions,
};
use crate::{
    service::{PeerAddr, Registries, ServerPermit},
    session::Watched,
};

/// What all connections of a server share.
pub(super) struct Server {
    pub(super) http: Http,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) registries: Option<Registries>,
    pub(super) limits: TimeLimits,
    pub(super) proxy: bool,
    pub(super) tcp: TcpOptions,
    pub(super) on_end: Option<EndHook>,
}

/// What a connection has of its server.
pub(super) struct Context {
    pub(super) server: Arc<Server>,
    pub(super) stop: Stop,
    pub(super) permit: Option<ServerPermit>,
}

/// Who the client of a connection is.
struct Client<L: Listener> {
    address: L::Addr,
    /// What a proxy has said of it.
    announced: Option<Box<Announced>>,
}

/// Serves a connection of a listener until it ends.
///
/// In a box that is as large as this connection needs: one without TLS has no room for it, and a task's
/// memory is copied when it starts and when it ends.
pub(super) fn run<L, S>(
    context: Context,
    stream: L::Io,
    address: L::Addr,
    app: S,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    L: Listener,
    S: Application<L::Addr>,
{
    let start = Instant::now();
    let client = Client {
        address,
        announced: None,
    };
    if context.server.proxy {
        Box::pin(announced::<L, S>(context, stream, client, app, start))
    } else {
        begin::<L, S>(context, stream, client, app, start)
    }
}

fn begin<L, S>(
    context: Context,
    stream: L::Io,
    client: Client<L>,
    app: S,
    start: Instant,
) -> Pin<Box<dyn Future<Output = ()> + Send>>
where
    L: Listener,
    S: Application<L::Addr>,
{
    let ending = client.ending(&context, start);
    if context.server.tls.is_some() {
        Box::pin(Reported::new(
            secure::<L, S>(context, stream, client, app),
            ending,
        ))
    } else {
        Box::pin(Reported::new(
            serve::<L, _, S>(context, stream, client, app),
            ending,
        ))
    }
}

/// Reads what a proxy has to say first, and serves what comes behind it.
async fn announced<L, S>(
    mut context: Context,
    mut stream: L::Io,
    mut client: Client<L>,
    app: S,
    start: Instant,
) where
    L: Listener,
    S: Application<L::Addr>,
{
    let limit = context.server.limits.header;
    let header = within(limit, proxy::read_header(&mut stream));
    let end = match race(context.stop.stopping(), header).await {
        Race::First(()) => ConnectionEnd::Closed,
        Race::Second(None) => ConnectionEnd::Timeout(Expired::ProxyHeader),
        Race::Second(Some(Err(error))) => ConnectionEnd::Proxy(error),
        Race::Second(Some(Ok(announced))) => {
            client.announce(announced);
            return begin::<L, S>(context, stream, client, app, start).await;
        }
    };
    end.log();
    if let Some(ending) = client.ending(&context, start) {
        ending.tell(end);
    }
}

/// Makes the TLS handshake, and serves what comes of it.
async fn secure<L, S>(
    mut context: Context,
    stream: L::Io,
    client: Client<L>,
    app: S,
) -> ConnectionEnd
where
    L: Listener,
    S: Application<L::Addr>,
{
    let Context { server, stop, .. } = &mut context;
    let Some(tls) = &server.tls else {
        return ConnectionEnd::Closed;
    };
    // Boxed, because each future around it would have room for it twice.
    let handshake = within(server.limits.header, Box::pin(tls.accept(stream)));
    match race(stop.stopping(), handshake).await {
        Race::First(()) => ConnectionEnd::Closed,
        Race::Second(None) => ConnectionEnd::Timeout(Expired::TlsHandshake),
        Race::Second(Some(Err(error))) => ConnectionEnd::Tls(error),
        Race::Second(Some(Ok(stream))) => {
            serve::<L, _, _>(context, Box::new(stream), client, app).await
        }
    }
}

/// Serves what is in the clear now.
async fn serve<L, T, S>(mut context: Context, stream: T, client: Client<L>, app: S) -> ConnectionEnd
where
    L: Listener,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Application<L::Addr>,
{
    let made = within(context.server.limits.header, app.service(&client.address));
    // What is made at once is served in any case: its request may be there already.
    let app = match race(made, context.stop.stopping()).await {
        Race::First(Some(Ok(app))) => app,
        Race::First(Some(Err(error))) => return ConnectionEnd::Service(io::Error::other(error)),
        Race::First(None) => return ConnectionEnd::Service(io::ErrorKind::TimedOut.into()),
        Race::Second(()) => return ConnectionEnd::Closed,
    };
    let Context {
        server,
        stop,
        permit,
    } = context;
    let line = Line::new(server.limits, permit.clone());
    let service = Serving::<L, S::Service> {
        app: TowerToHyperService::new(app),
        client,
        registries: server.registries.clone(),
        permit,
        line: line.clone(),
    };
    match http(&server.http, line.clone(), stream, service, stop).await {
        Ok(()) if line.is_upgraded() => ConnectionEnd::Upgraded,
        Ok(()) => ConnectionEnd::Closed,
        Err(Failure::Http(error)) => ConnectionEnd::Http(io::Error::other(error)),
        Err(Failure::Expired(expired)) => ConnectionEnd::Timeout(expired),
        Err(Failure::Aborted) => ConnectionEnd::Aborted,
    }
}

/// Speaks HTTP until the connection ends, or has to.
pub(super) async fn http<T, S, B>(
    http: &Http,
    line: Arc<Line>,
    stream: T,
    service: S,
    mut stop: Stop,
) -> Result<(), Failure>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: HyperApp<B>,
    B: AppBody,
{
    let timed = http.timed(&line);
    let stream = Watched::new(stream, line.clone());
    let mut connection = pin!(timed.serve(stream, service));
    let mut expired = pin!(line.expired());
    let first = race(stop.stopping(), expired.as_mut());
    let expiry = match race(connection.as_mut(), first).await {
        Race::First(result) => return result.map_err(Failure::http),
        Race::Second(Race::First(())) => None,
        Race::Second(Race::Second(expiry)) => Some(expiry),
    };
    if let Some(expiry) = expiry {
        if expiry == Expired::NoRequest {
            connection.as_mut().graceful_shutdown();
            let _gone = race(connection, sleep(GOODBYE)).await;
        }
        return Err(Failure::Expired(expiry));
    }
    connection.as_mut().graceful_shutdown();
    match race(connection, race(stop.aborting(), expired)).await {
        Race::First(result) => result.map_err(Failure::http),
        Race::Second(Race::First(())) => Err(Failure::Aborted),
        Race::Second(Race::Second(expiry)) => Err(Failure::Expired(expiry)),
    }
}

/// Why a connection did not end by itself.
#[derive(Debug)]
pub(super) enum Failure {
    Http(BoxError),
    /// The client took too long.
    Expired(Expired),
    /// The server stopped.
    Aborted,
}

impl Failure {
    fn http(error: impl Into<BoxError>) -> Self {
        Self::Http(error.into())
    }
}

/// Waits for a future, with a limit or without.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

impl<L: Listener> Client<L> {
    fn announce(&mut self, announced: Announced) {
        if let Announced::Client(address) = announced {
            L::announce(&mut self.address, address);
        }
        self.announced = Some(Box::new(announced));
    }

    /// Puts its address among the extensions of a request.
    fn extend(&self, extensions: &mut Extensions) {
        L::extend(&self.address, extensions);
        match self.announced.as_deref() {
            Some(Announced::Client(address)) => {
                extensions.insert(PeerAddr(*address));
            }
            Some(Announced::Elsewhere) => {
                // What is known is the proxy's.
                extensions.remove::<PeerAddr>();
            }
            Some(Announced::Nothing) | None => {}
        }
    }

    /// Makes who hears of the connection's end, if somebody wants to.
    fn ending(&self, context: &Context, start: Instant) -> Option<Ending> {
        let hook = context.server.on_end.as_ref()?;
        let mut extensions = Extensions::new();
        self.extend(&mut extensions);
        let peer: Option<SocketAddr> = extensions.get().map(|PeerAddr(peer)| *peer);
        Some(Ending::new(hook, peer, start))
    }
}

/// The application, as one connection sees it.
struct Serving<L: Listener, S> {
    app: TowerToHyperService<S>,
    client: Client<L>,
    registries: Option<Registries>,
    permit: Option<ServerPermit>,
    line: Arc<Line>,
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
        self.line.request(request.body());
        let extensions = request.extensions_mut();
        self.client.extend(extensions);
        if let Some(registries) = &self.registries {
            extensions.insert(registries.clone());
        }
        if let Some(permit) = &self.permit {
            // A WebSocket keeps it when HTTP is done with the connection.
            extensions.insert(permit.clone());
        }
        self.app.call(request)
    }
}

/// What a client without a request has to read the GOAWAY.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use std::convert::Infallible;

    use ::http::Response;
    use tokio::net::{TcpListener, TcpStream};
    use tower::service_fn;

    use super::{
        super::{settings::Settings, stop},
        *,
    };

    #[tokio::test]
    async fn a_connection_has_no_room_for_what_it_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = async || TcpStream::connect(address).await.unwrap();
        let settings = Settings::default();
        let server = Arc::new(Server {
            http: Http::new(&settings),
            tls: None,
            registries: None,
            limits: settings.limits(),
            proxy: false,
            tcp: TcpOptions::default(),
            on_end: None,
        });
        let app = service_fn(async |_| Ok::<_, Infallible>(Response::new(String::new())));
        let (_stopper, stop) = stop::channel();
        let context = || Context {
            server: server.clone(),
            stop: stop.clone(),
            permit: None,
        };
        // hyper's part is half of it.
        let clear = run::<TcpListener, _>(context(), stream().await, address, app);
        let size = size_of_val(&*clear);
        assert!(size < 3500, "{size} bytes in the clear");
        let client = Client {
            address,
            announced: None,
        };
        let secure = secure::<TcpListener, _>(context(), stream().await, client, app);
        let size = size_of_val(&secure);
        assert!(size < 5000, "{size} bytes, and those of TLS");
    }
}
