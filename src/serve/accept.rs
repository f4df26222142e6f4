//! One WebSocket on one stream, without a service.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{Ready, ready},
    io::{self, ErrorKind},
    sync::Arc,
    task::{Context, Poll},
};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::timeout,
};
use tower::Service;

use super::{
    connection::{self, Failure, GOODBYE},
    http::Http,
    line::Line,
    settings::Settings,
    stop::{self, Race, race},
};
use crate::{
    config::Config, handshake::Rejection, lock::Lock, service::layer::WebSocketLayer,
    session::WebSocket,
};

/// Opens a WebSocket on a stream: a connection just accepted, with TLS or without.
///
/// It reads one request, over HTTP/1.1 or, with the feature `http2`, the first one of an HTTP/2
/// connection, and answers it. The socket is the request's body, and lives like every other: a task of its own
/// answers pings and keeps deadlines. Of an HTTP/2 connection it is the only
/// stream: the client is told to send no more. For a single stream of an HTTP/2 connection that is
/// served elsewhere, use [`OnUpgrade`](crate::service::OnUpgrade).
///
/// ```no_run
/// use tower_websocket::{Config, serve};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// let (stream, _) = listener.accept().await?;
/// stream.set_nodelay(true)?;
/// let (head, mut socket) = serve::accept(stream, Config::default()).await?.into_parts();
/// println!("{}", head.uri);
/// while let Some(message) = socket.recv().await? {
///     socket.send(message).await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`AcceptError`]. A request that opens no WebSocket has been answered, with what its
/// [`Rejection`] says, before the error is returned. The head of the request has to arrive within 10
/// seconds.
///
/// # Cancel safety
///
/// Dropping the future ends the connection.
///
/// # Panics
///
/// Panics outside a tokio runtime with time enabled.
pub async fn accept<T>(stream: T, config: Config) -> Result<Request<WebSocket>, AcceptError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, mut outcome) = oneshot::channel();
    let (stopper, stop) = stop::channel();
    let mut serving = Box::pin(serve_one(stream, config, Taker::new(sender), stop));
    match race(&mut outcome, serving.as_mut()).await {
        Race::First(Ok(Ok(request))) => {
            // HTTP/2: the connection carries the stream on, and no other one.
            stopper.start();
            tokio::spawn(serving);
            Ok(request)
        }
        Race::First(Ok(Err(rejection))) => {
            stopper.start();
            // The answer has to leave. What the client does then is no matter.
            let _ended = timeout(GOODBYE, serving).await;
            Err(AcceptError::Rejected(rejection))
        }
        Race::First(Err(_)) => Err(hung_up()),
        // HTTP/1.1: the stream is on its way to the session, or nothing has come of it.
        Race::Second(ended) => match outcome.await {
            Ok(Ok(request)) => Ok(request),
            Ok(Err(rejection)) => Err(AcceptError::Rejected(rejection)),
            Err(_) => Err(ended.err().map_or_else(hung_up, AcceptError::from)),
        },
    }
}

/// The reason why [`accept`] has opened no connection.
///
/// ```no_run
/// use tokio::net::TcpStream;
/// use tower_websocket::{Config, serve::{self, AcceptError}};
///
/// # async fn example(stream: TcpStream) {
/// match serve::accept(stream, Config::default()).await {
///     Ok(request) => println!("{}", request.uri()),
///     Err(AcceptError::Rejected(rejection)) => println!("refused: {}", rejection.name()),
///     Err(AcceptError::Timeout) => println!("nothing came"),
///     Err(error) => println!("gone: {error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The request was refused; the response was sent, as far as the client took it in time.
    Rejected(Rejection),
    /// The client has gone, or did not speak HTTP.
    Io(io::Error),
    /// The head of the request did not arrive within 10 seconds.
    Timeout,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rejected(_) => "the handshake was refused",
            Self::Io(_) => "the connection failed before the handshake",
            Self::Timeout => "the handshake did not come in time",
        })
    }
}

impl Error for AcceptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Io(error) => Some(error),
            Self::Timeout => None,
        }
    }
}

impl From<Failure> for AcceptError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Expired(_) => Self::Timeout,
            Failure::Http(error) => Self::Io(io::Error::other(error)),
            Failure::Aborted => hung_up(),
        }
    }
}

fn hung_up() -> AcceptError {
    AcceptError::Io(ErrorKind::UnexpectedEof.into())
}

/// Serves a connection whose first request is what matters.
async fn serve_one<T>(
    stream: T,
    config: Config,
    taker: Taker,
    stop: stop::Stop,
) -> Result<(), Failure>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let settings = Settings::default();
    let line = Line::new(settings.limits(), None);
    let endpoint = WebSocketLayer::new(taker.clone()).config(config).endpoint();
    let came = line.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        came.request(request.body());
        let answer = endpoint.clone().call(request);
        let taker = taker.clone();
        async move {
            let response = answer.await?;
            if let Some(rejection) = response.extensions().get::<Rejection>() {
                taker.give(Err(rejection.clone()));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let http = Http::new(&settings);
    connection::http(&http, line, stream, service, stop).await
}

type Taken = Result<Request<WebSocket>, Rejection>;

/// The route service that takes the first connection out; ready until then.
#[derive(Clone, Debug)]
struct Taker {
    sender: Arc<Lock<Option<oneshot::Sender<Taken>>>>,
}

impl Taker {
    fn new(sender: oneshot::Sender<Taken>) -> Self {
        Self {
            sender: Arc::new(Lock::new(Some(sender))),
        }
    }

    fn give(&self, outcome: Taken) {
        let sender = self.sender.lock().take();
        if let Some(sender) = sender {
            // The future of `accept` may have been dropped.
            let _unwanted = sender.send(outcome);
        }
    }
}

impl Service<Request<WebSocket>> for Taker {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<WebSocket>) -> Self::Future {
        // A second one, on another stream, is dropped: closed.
        self.give(Ok(request));
        ready(Ok(()))
    }
}
