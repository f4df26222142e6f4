//! Streams of `h2` under a connection, for servers without hyper.

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{Request, Response, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tower::ServiceExt;
use tower_websocket::{Config, client::Client, endpoint, service::OnUpgrade, session::Http2Stream};

use crate::{
    session::{
        self,
        support::{Frame, Peer, Shape, idle, text},
    },
    support::{close, echo, echoes, handler, within},
};

/// Serves one connection of HTTP/2 without hyper.
async fn serve(stream: DuplexStream) {
    let mut builder = h2::server::Builder::new();
    builder.enable_connect_protocol();
    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.unwrap();
        tokio::spawn(answer(request, respond));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (mut head, recv) = request.into_parts();
    let (hand_over, stream) = oneshot::channel();
    let stream = async { stream.await.map_err(std::io::Error::other) };
    head.extensions.insert(OnUpgrade::from_future(stream));
    let app = endpoint(handler(echo));
    let response = app.oneshot(Request::from_parts(head, ())).await.unwrap();
    let accepted = response.status() == StatusCode::OK;
    let (head, _) = response.into_parts();
    let send = respond
        .send_response(Response::from_parts(head, ()), !accepted)
        .unwrap();
    if accepted {
        let _gone = hand_over.send(Http2Stream::new(send, recv));
    }
}

#[tokio::test]
async fn server_on_h2_itself_echoes() {
    let (ours, theirs) = duplex(1 << 16);
    tokio::spawn(serve(theirs));
    let connection = Client::new()
        .connect_http2_over(ours, "ws://localhost/")
        .await
        .unwrap();
    let mut socket = connection.connect("/echo").await.unwrap();
    for size in [0, 1, 125, 4095, 4096, 70_000, 1 << 20] {
        echoes(&mut socket, &"x".repeat(size)).await;
    }
    within(close(socket)).await;
}

/// A stream of ours, and the halves that its peer has, both with a window of so many bytes.
async fn stream(window: u32) -> (Http2Stream, SendStream<Bytes>, RecvStream) {
    let (ours, theirs) = duplex(1 << 16);
    let (sender, accepted) = oneshot::channel();
    tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(window);
        let mut server = builder.handshake::<_, Bytes>(theirs).await.unwrap();
        let (request, mut respond) = server.accept().await.unwrap().unwrap();
        let send = respond.send_response(Response::new(()), false).unwrap();
        sender.send((send, request.into_body())).unwrap();
        while server.accept().await.is_some() {}
    });
    let mut builder = h2::client::Builder::new();
    let (mut requests, client) = builder
        .initial_window_size(window)
        .handshake::<_, Bytes>(ours)
        .await
        .unwrap();
    tokio::spawn(client);
    let request = Request::post("http://localhost/").body(()).unwrap();
    let (response, send) = requests.send_request(request, false).unwrap();
    let recv = response.await.unwrap().into_body();
    let (their_send, their_recv) = accepted.await.unwrap();
    idle().await;
    (Http2Stream::new(send, recv), their_send, their_recv)
}

#[tokio::test(start_paused = true)]
async fn stream_is_read_and_written_as_any_other() {
    let (mut stream, mut send, mut recv) = stream(1000).await;
    stream.write_all(b"hello").await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(within(recv.data()).await.unwrap().unwrap(), "hello");
    send.send_data("one two".into(), false).unwrap();
    let mut three = [0; 3];
    stream.read_exact(&mut three).await.unwrap();
    assert_eq!(&three, b"one");
    assert_eq!(stream.read(&mut []).await.unwrap(), 0);
    send.send_data("three".into(), true).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, " twothree");
    assert_eq!(stream.write(b"").await.unwrap(), 0);
    stream.shutdown().await.unwrap();
    stream.shutdown().await.unwrap();
    // The frame that ends the stream.
    assert_eq!(within(recv.data()).await.unwrap().unwrap(), "");
    drop(stream);
    idle().await;
    assert!(recv.data().await.is_none(), "it is reset");
}

/// Who only writes is told as much as who reads.
#[tokio::test(start_paused = true)]
async fn stream_that_was_reset_says_so_to_who_writes() {
    let (mut stream, mut send, _recv) = stream(1000).await;
    send.send_reset(Reason::INTERNAL_ERROR);
    idle().await;
    let error = within(stream.write(b"hello")).await.unwrap_err();
    let reason = error.get_ref().and_then(|error| error.downcast_ref());
    let reason = reason.and_then(h2::Error::reason);
    assert_eq!(reason, Some(Reason::INTERNAL_ERROR), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn stream_that_is_dropped_is_reset() {
    let (mut stream, _send, mut recv) = stream(1000).await;
    stream.write_all(b"hello").await.unwrap();
    idle().await;
    drop(stream);
    assert_eq!(within(recv.data()).await.unwrap().unwrap(), "hello");
    let error = within(recv.data()).await.unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
}

/// On a server: a client's `h2` resets with CANCEL, and throws away what waits.
#[tokio::test(start_paused = true)]
async fn what_a_server_has_written_leaves_though_the_stream_is_dropped_then() {
    let (mut client, send, recv) = stream(1000).await;
    let mut server = Http2Stream::new(send, recv);
    server.write_all(b"hello").await.unwrap();
    server.shutdown().await.unwrap();
    drop(server);
    let mut received = String::new();
    within(client.read_to_string(&mut received)).await.unwrap();
    assert_eq!(received, "hello");
}

#[tokio::test(start_paused = true)]
async fn writes_wait_for_the_window() {
    let (mut stream, _send, mut recv) = stream(10).await;
    assert_eq!(stream.write(&[1; 100]).await.unwrap(), 10);
    let mut writing = Box::pin(stream.write(&[2; 100]));
    assert!(session::support::once(writing.as_mut()).await.is_pending());
    assert_eq!(within(recv.data()).await.unwrap().unwrap(), [1; 10][..]);
    idle().await;
    assert!(session::support::once(writing.as_mut()).await.is_pending());
    recv.flow_control().release_capacity(10).unwrap();
    assert_eq!(within(writing).await.unwrap(), 10);
}

#[tokio::test(start_paused = true)]
async fn window_is_given_back_for_what_was_read() {
    let (mut stream, mut send, _recv) = stream(1000).await;
    send.reserve_capacity(3000);
    let windows = |send: &SendStream<Bytes>| send.capacity();
    idle().await;
    assert_eq!(windows(&send), 1000);
    send.send_data(vec![0; 1000].into(), false).unwrap();
    send.reserve_capacity(2000);
    let mut one = [0; 1];
    stream.read_exact(&mut one).await.unwrap();
    idle().await;
    assert_eq!(windows(&send), 1);
    stream.read_exact(&mut [0; 999]).await.unwrap();
    idle().await;
    assert_eq!(windows(&send), 1000);
}

#[tokio::test(start_paused = true)]
async fn reset_ends_a_stream_or_breaks_it() {
    for (reason, ends) in [
        (Reason::CANCEL, true),
        (Reason::NO_ERROR, true),
        (Reason::INTERNAL_ERROR, false),
        (Reason::REFUSED_STREAM, false),
    ] {
        let (mut stream, mut send, _recv) = stream(1000).await;
        send.send_reset(reason);
        let read = within(stream.read(&mut [0; 10])).await;
        assert_eq!(matches!(read, Ok(0)), ends, "{reason:?}: {read:?}");
        stream.write_all(b"hello").await.unwrap_err();
    }
}

#[tokio::test]
async fn tcp_connection_may_be_handed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ours = TcpStream::connect(address).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    let route = handler(echo);
    let _reports = session::support::serve(Shape::H1, Config::default(), route, theirs).await;
    let mut peer = Peer::new(ours);
    peer.send(text("hello")).await;
    assert_eq!(peer.frame().await, Frame::text("hello"));
}
