//! Conversations with a stream that does what it is told.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    time::Duration,
};

use http::{Request, Response, StatusCode};

use super::*;
use crate::{
    config::Config,
    error::Error,
    handshake::{Rejection, key},
    protocol::{
        Deadline, Message, ProtocolError, Role,
        close::{CloseCode, CloseFrame},
        message::Event,
        test_support::*,
    },
};

/// A stream of which each read and write is known beforehand.
#[derive(Debug, Default)]
struct Script {
    reads: VecDeque<io::Result<Vec<u8>>>,
    written: Vec<u8>,
    /// What the next writes take, or how they fail; all else is taken whole.
    writes: VecDeque<io::Result<usize>>,
}

impl Script {
    fn new(reads: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        Self {
            reads: reads.into_iter().map(|bytes| Ok(bytes.into())).collect(),
            ..Self::default()
        }
    }

    /// Has nothing to give once.
    fn then_blocks(mut self) -> Self {
        self.reads.push_back(Err(io::ErrorKind::WouldBlock.into()));
        self
    }

    fn then(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.reads.push_back(Ok(bytes.into()));
        self
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.written).into_owned()
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(read) = self.reads.pop_front() else {
            return Ok(0);
        };
        let mut bytes = read?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        if len < bytes.len() {
            self.reads.push_front(Ok(bytes.split_off(len)));
        }
        Ok(len)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.writes.pop_front().unwrap_or(Ok(usize::MAX))?;
        let len = bytes.len().min(most);
        self.written.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

fn server(script: Script) -> WebSocket<Script> {
    WebSocket::upgraded(script, Role::Server, Config::default(), b"")
}

fn client(script: Script) -> WebSocket<Script> {
    WebSocket::upgraded(script, Role::Client, Config::default(), b"")
}

fn close_from_client() -> Vec<u8> {
    from_client(0x88, b"\x03\xe8")
}

#[test]
fn handshake_of_the_standard_is_answered() {
    let mut socket = accept(Script::new([REQUEST]), &Config::default()).expect("a handshake");
    let text = socket.get_mut().text();
    assert!(
        text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{text}"
    );
    assert!(
        text.contains("\r\nSec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{text}"
    );
    assert!(
        text.ends_with("\r\n\r\n") && !text.contains("Content-Length"),
        "{text}"
    );
}

#[test]
fn request_is_the_same_however_it_is_cut_and_what_is_behind_it_is_kept() {
    let bytes = [b"\r\n", REQUEST.as_bytes(), MASKED_HELLO].concat();
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        let pieces = [first, second]
            .into_iter()
            .filter(|piece| !piece.is_empty());
        let handshake = Handshake::read(Script::new(pieces)).expect("a request");
        assert_eq!(handshake.head().uri.path(), "/chat");
        let mut socket = handshake.accept(&Config::default()).expect("a handshake");
        let message = socket.recv().expect("a message");
        assert_eq!(message, Some(Message::text("Hello")), "cut at {cut}");
    }
    let dribble = bytes.iter().map(|byte| vec![*byte]);
    let mut socket = accept(Script::new(dribble), &Config::default()).expect("a handshake");
    assert_eq!(
        socket.recv().expect("a message"),
        Some(Message::text("Hello"))
    );
}

/// A stream that can be looked at when the call that had it has failed.
fn refused(request: impl Into<Vec<u8>>) -> (AcceptError, String) {
    let mut script = Script::new([request]);
    let error = Handshake::read(&mut script)
        .and_then(|handshake| handshake.accept(&Config::default()))
        .expect_err("no handshake");
    (error, script.text())
}

#[test]
fn refusals_are_responses() {
    let (error, text) = refused("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(matches!(
        error,
        AcceptError::Rejected(Rejection::UpgradeRequired)
    ));
    assert!(
        text.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
        "{text}"
    );
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{text}"
    );

    let (error, text) = refused(REQUEST.replace("Host:", "Origin: http://evil.example\r\nHost:"));
    assert!(matches!(
        error,
        AcceptError::Rejected(Rejection::OriginRefused)
    ));
    assert!(text.starts_with("HTTP/1.1 403 Forbidden\r\n") && text.contains("Connection: close"));
}

#[test]
fn what_is_no_http_is_answered_and_has_its_bounds() {
    let fields = |count: usize| "A: b\r\n".repeat(count);
    let head = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n");
    for (request, status, expected) in [
        (
            String::from("\x16\x03\x01\x02\x00\r\n\r\n"),
            "400",
            InvalidHead::Malformed,
        ),
        (
            String::from("GET / HTTP/1.1\r\nA : b\r\n\r\n"),
            "400",
            InvalidHead::Malformed,
        ),
        (
            String::from("GET / HTTP/1.1\r\n a\r\n\r\n"),
            "400",
            InvalidHead::Malformed,
        ),
        (
            String::from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            "505",
            InvalidHead::Version,
        ),
        (head(&fields(101)), "431", InvalidHead::TooLarge),
        (
            head(&format!("A: {}\r\n", "b".repeat(64 << 10))),
            "431",
            InvalidHead::TooLarge,
        ),
        ("\r\n".repeat(33 << 10), "431", InvalidHead::TooLarge),
        ("x".repeat(1 << 20), "431", InvalidHead::TooLarge),
    ] {
        let (error, text) = refused(request);
        let AcceptError::Head(invalid) = error else {
            panic!("{error:?}");
        };
        assert_eq!(invalid, expected);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    }
    let (error, _) = refused(head(&fields(100)));
    assert!(matches!(error, AcceptError::Rejected(_)), "{error:?}");
}

#[test]
fn head_has_its_time() {
    let mut input = head::Input::new(Duration::ZERO);
    let result = input.head(&mut Script::new(["GET / HTTP/1.1\r\n", "Host: a\r\n\r\n"]));
    assert!(matches!(result, Err(error::HeadError::Timeout)));
    let mut input = head::Input::new(Duration::ZERO);
    let result = input.head(&mut Script::default().then_blocks());
    assert!(matches!(result, Err(error::HeadError::Timeout)));
    let mut input = head::Input::new(Duration::from_secs(60));
    let result = input.head(&mut Script::default().then_blocks());
    assert!(matches!(result, Err(error::HeadError::Io(_))));
}

#[test]
fn application_may_refuse_choose_and_add_headers() {
    let mut script = Script::new([REQUEST]);
    let handshake = Handshake::read(&mut script).expect("a request");
    let mut response = Response::new("not here");
    *response.status_mut() = StatusCode::NOT_FOUND;
    handshake.refuse(&response).expect("written");
    let text = script.text();
    assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n"), "{text}");
    assert!(
        text.ends_with("\r\n\r\nnot here") && text.contains("Content-Length: 8\r\n"),
        "{text}"
    );

    let request = REQUEST.replace("Host:", "Sec-WebSocket-Protocol: a, b\r\nHost:");
    let handshake = Handshake::read(Script::new([request])).expect("a request");
    let socket = handshake.accept_with(&Config::default(), |accepted| {
        assert!(accepted.select_subprotocol("b"));
        let mut response = accepted.response();
        let value = http::HeaderValue::from_static("yes");
        response.headers_mut().insert("x-more", value);
        response
    });
    let socket = socket.expect("a handshake");
    assert_eq!(socket.subprotocol(), Some("b"));
    let text = socket.get_ref().text();
    assert!(
        text.contains("\r\nX-More: yes\r\n") && text.contains("Protocol: b\r\n"),
        "{text}"
    );
}

/// A server that answers the request with what it is told, in which `ACCEPT` is the answer to the key.
#[derive(Debug)]
struct Answering {
    script: Script,
    answer: &'static str,
}

impl Read for Answering {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.answer.is_empty() {
            let request = self.script.text();
            let (_, key) = request.split_once("Sec-Websocket-Key: ").expect("a key");
            let key = key.split("\r\n").next().unwrap_or_default();
            let accept = key::accept(key.as_bytes());
            let accept = accept.to_str().expect("base64");
            let answer = std::mem::take(&mut self.answer).replace("ACCEPT", accept);
            self.script.reads.push_front(Ok(answer.into()));
        }
        self.script.read(buffer)
    }
}

impl Write for Answering {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.script.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn ask(answer: &'static str) -> Result<WebSocket<Answering>, ConnectError> {
    let script = Script::default();
    connect(
        Answering { script, answer },
        "ws://a.example/chat?x=1",
        &Config::default(),
    )
}

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n";

#[test]
fn client_asks_and_keeps_what_is_behind_the_answer() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: ACCEPT\r\n\r\n\u{1}\u{5}Hello",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n\u{1}\u{5}Hello",
    ] {
        let mut socket = ask(answer).expect("accepted");
        let request = socket.get_ref().script.text();
        assert!(
            request.starts_with("GET /chat?x=1 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("Host: a.example\r\n") && request.ends_with("\r\n\r\n"));
        socket
            .get_mut()
            .script
            .reads
            .push_back(Ok(from_server(0x80, b"!")));
        assert_eq!(
            socket.recv().expect("a message"),
            Some(Message::text("Hello!"))
        );
    }
}

#[test]
fn answers_that_refuse_or_do_not_fit_are_errors() {
    let rejected = |answer| match ask(answer).expect_err("refused") {
        ConnectError::Rejected(response) => {
            let (head, body) = response.into_parts();
            (
                head.status.as_u16(),
                String::from_utf8_lossy(&body).into_owned(),
            )
        }
        error => panic!("{error:?}"),
    };
    let refused = |status, body: &str| (status, body.to_owned());
    assert_eq!(
        rejected("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone, and more"),
        refused(404, "none")
    );
    assert_eq!(
        rejected("HTTP/1.0 500 Oops\r\n\r\nto the end"),
        refused(500, "to the end")
    );
    assert_eq!(
        rejected("HTTP/1.1 302 Found\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"),
        refused(302, "")
    );
    assert!(matches!(
        ask("SSH-2.0-OpenSSH\r\n\r\n"),
        Err(ConnectError::Head(InvalidHead::Malformed))
    ));
    assert!(matches!(
        ask(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        ),
        Err(ConnectError::Response(_))
    ));
    assert!(matches!(ask("HTTP/1.1 101 Swi"), Err(ConnectError::Io(_))));
    let malformed = connect(Script::default(), "http//", &Config::default());
    assert!(malformed.is_err());
    let scheme = connect(Script::default(), "ftp://a.example/", &Config::default());
    assert!(matches!(scheme, Err(ConnectError::Request(_))));
    assert!(ask(ACCEPTED).is_ok());
}

#[test]
fn headers_of_a_request_are_sent_and_the_response_is_returned() {
    let asked = Request::get("ws://a.example/")
        .header("authorization", "Bearer 1234")
        .body(());
    let stream = Answering {
        script: Script::default(),
        answer: ACCEPTED,
    };
    let response = request(stream, asked.expect("a request"), &Config::default());
    let response = response.expect("accepted");
    assert_eq!(response.headers()["upgrade"], "websocket");
    let text = response.into_body().into_inner().script.text();
    assert!(
        text.contains("\r\nAuthorization: Bearer 1234\r\n"),
        "{text}"
    );
}

#[test]
fn pings_are_answered_and_a_close_ends_it() -> Result<(), Error> {
    let reads = [
        from_client(0x89, b"hi"),
        MASKED_HELLO.into(),
        close_from_client(),
    ];
    let mut socket = server(Script::new(reads));
    assert_eq!(socket.recv()?, Some(Message::text("Hello")));
    assert_eq!(socket.get_ref().written, b"\x8a\x02hi");
    socket.send("x")?;
    assert_eq!(socket.recv()?, None);
    assert_eq!(socket.recv()?, None);
    assert_eq!(
        socket.get_ref().written,
        b"\x8a\x02hi\x81\x01x\x88\x02\x03\xe8"
    );
    assert_eq!(
        socket.received_close().map(CloseFrame::code),
        Some(CloseCode::NORMAL)
    );
    assert!(!socket.is_open() && matches!(socket.send("y"), Err(Error::Closed)));
    Ok(())
}

#[test]
fn events_show_control_frames() -> Result<(), Error> {
    let reads = [from_client(0x89, b"hi"), from_client(0x88, b"")];
    let mut socket = server(Script::new(reads));
    assert_eq!(socket.recv_event()?, Some(Event::Ping("hi".into())));
    assert_eq!(socket.recv_event()?, Some(Event::Close(None)));
    assert_eq!(socket.recv_event()?, None);
    Ok(())
}

#[test]
fn reads_that_block_lose_nothing_wherever_they_do() {
    let bytes = [
        MASKED_HELLO,
        &from_client(0x02, b"a")[..],
        &from_client(0x80, b"b"),
        &close_from_client(),
    ]
    .concat();
    for cut in 0..=bytes.len() {
        let (first, second) = bytes.split_at(cut);
        let mut script = Script::default();
        if cut > 0 {
            script = script.then(first);
        }
        let mut socket = server(script.then_blocks().then(second));
        let (mut messages, mut blocked) = (Vec::new(), 0);
        loop {
            match socket.recv() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert!(may_repeat(&error), "{error:?}");
                    blocked += 1;
                }
            }
        }
        assert_eq!(
            messages,
            [Message::text("Hello"), Message::binary("ab")],
            "cut at {cut}"
        );
        assert_eq!(blocked, usize::from(cut < bytes.len()), "cut at {cut}");
        assert_eq!(socket.get_ref().written, b"\x88\x02\x03\xe8");
    }
}

#[test]
fn writes_that_block_lose_nothing_and_what_is_not_taken_is_said() -> Result<(), Error> {
    let blocks = || Err(io::ErrorKind::WouldBlock.into());
    let mut socket = server(Script::default());
    socket.get_mut().writes = [Ok(3), blocks(), blocks(), Ok(2), blocks()].into();
    socket.send("Hello")?; // three bytes leave
    assert_eq!(socket.get_ref().written.len(), 3);
    socket.send("again")?; // none leaves
    assert!(may_repeat(&socket.flush().expect_err("two bytes leave")));
    socket.flush()?;
    assert_eq!(socket.get_ref().written, b"\x81\x05Hello\x81\x05again");

    let config = Config::default().max_send_queue(10);
    let mut socket = WebSocket::upgraded(Script::default(), Role::Server, config, b"");
    socket.get_mut().writes = (0..4).map(|_| blocks()).collect();
    socket.send("12345678")?;
    socket.send("taken, as no more than ten bytes wait")?;
    let refused = socket
        .send("not taken")
        .expect_err("more than ten bytes wait");
    assert!(may_repeat(&refused));
    socket.get_mut().writes.clear();
    socket.send("taken")?;
    let text = socket.get_ref().text();
    assert!(
        text.contains("1234") && text.contains("ten bytes wait") && !text.contains("not taken")
    );
    assert!(text.ends_with("taken"));
    Ok(())
}

#[test]
fn close_waits_for_the_peer_and_discards_messages() -> Result<(), Error> {
    let script = Script::new([MASKED_HELLO])
        .then_blocks()
        .then(MASKED_HELLO)
        .then(close_from_client());
    let mut socket = server(script);
    socket.send("last")?;
    let error = socket.close(CloseCode::GOING_AWAY).expect_err("it blocks");
    assert!(may_repeat(&error));
    socket.close(CloseCode::NORMAL)?;
    assert_eq!(socket.get_ref().written, b"\x81\x04last\x88\x02\x03\xe9");
    assert_eq!(
        socket.received_close().map(CloseFrame::code),
        Some(CloseCode::NORMAL)
    );
    Ok(())
}

#[test]
fn what_breaks_a_rule_is_answered_and_said_once_behind_what_came_before() -> Result<(), Error> {
    let reads = [
        MASKED_HELLO.to_vec(),
        from_client(0x83, b""),
        MASKED_HELLO.to_vec(),
    ];
    let mut socket = server(Script::new([reads.concat()]));
    assert_eq!(socket.recv()?, Some(Message::text("Hello")));
    let error = socket.recv().expect_err("a reserved opcode");
    assert!(matches!(
        error,
        Error::Protocol(ProtocolError::ReservedOpcode(3))
    ));
    assert_eq!(socket.get_ref().written[..4], [0x88, 21, 0x03, 0xea]);
    assert_eq!(socket.recv()?, None);
    Ok(())
}

#[test]
fn reply_leaves_before_the_close_for_what_was_read_with_the_message() -> Result<(), Error> {
    let broken = [MASKED_HELLO, &from_client(0x83, b"")[..]].concat();
    let dribble: Vec<Vec<u8>> = broken.iter().map(|byte| vec![*byte]).collect();
    for reads in [vec![broken], dribble] {
        let mut socket = server(Script::new(reads));
        assert_eq!(socket.recv()?, Some(Message::text("Hello")));
        socket.send("x")?;
        assert!(socket.recv().expect_err("a reserved opcode").is_protocol());
        assert_eq!(socket.get_ref().written[..5], [0x81, 1, b'x', 0x88, 21]);
    }
    Ok(())
}

#[test]
fn server_that_fails_a_connection_waits_for_the_peers_close_and_no_longer() {
    let config = Config::default().max_message_size(3);
    let close = close_from_client();
    let reads = [
        from_client(0x82, b"12345"),
        from_client(0x81, b"abc"),
        close[..3].to_vec(),
        close[3..].to_vec(),
        b"never read: a client waits for the server's end".to_vec(),
    ];
    let mut socket = WebSocket::upgraded(Script::new(reads), Role::Server, config, b"");
    let error = socket.recv().expect_err("too big");
    assert_eq!(error.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
    assert_eq!(socket.get_ref().reads.len(), 1);
}

#[test]
fn vanished_peer_is_an_error_once() -> Result<(), Error> {
    let mut socket = client(Script::new([HELLO]));
    assert_eq!(socket.recv()?, Some(Message::text("Hello")));
    let error = socket.recv().expect_err("it ended");
    assert!(matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof));
    assert!(error.is_disconnect() && !may_repeat(&error));
    assert_eq!(socket.recv()?, None);
    Ok(())
}

#[test]
fn what_the_peer_has_said_is_received_though_nothing_can_be_written() -> Result<(), Error> {
    let reads = [
        from_client(0x89, b"hi"),
        MASKED_HELLO.into(),
        close_from_client(),
    ];
    let mut socket = server(Script::new(reads));
    socket.get_mut().writes = [Err(io::ErrorKind::BrokenPipe.into())].into();
    assert_eq!(socket.recv()?, Some(Message::text("Hello")));
    assert!(matches!(socket.send("x"), Err(Error::Closed)));
    assert_eq!(socket.recv()?, None);
    assert_eq!(
        socket.received_close().map(CloseFrame::code),
        Some(CloseCode::NORMAL)
    );
    Ok(())
}

#[test]
fn deadlines_are_kept_between_reads() {
    let config = Config::default()
        .max_lifetime(Duration::ZERO)
        .close_timeout(Duration::ZERO);
    let script = Script::default().then_blocks().then(close_from_client());
    let mut socket = WebSocket::upgraded(script, Role::Server, config, b"");
    let error = loop {
        match socket.recv() {
            Err(error) if may_repeat(&error) => {}
            result => break result.expect_err("a deadline"),
        }
    };
    assert!(
        matches!(error, Error::Timeout(Deadline::Lifetime)),
        "{error:?}"
    );
    assert_eq!(socket.get_ref().written[..4], [0x88, 18, 0x03, 0xe9]);
}

#[cfg(feature = "deflate")]
#[test]
fn messages_are_compressed_as_agreed_on_and_a_read_of_bombs_is_decoded_one_by_one() {
    use crate::{
        compression::Compression,
        protocol::{Compressor, Decompressor, DeflateParams},
    };
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..Default::default()
    };
    let config = Config::default().compression(Compression::shared().threshold(0));
    let request = REQUEST.replace(
        "Host:",
        "Sec-WebSocket-Extensions: permessage-deflate\r\nHost:",
    );
    let mut compressor = Compressor::new(Role::Client, params, &Compression::shared().level(9));
    let bomb = compressor.compress(&vec![0; 1 << 18]);
    assert!(8 * bomb.len() < 16 << 10, "they come in one read");
    let bombs = from_client(0xc2, &bomb).repeat(8);
    let mut socket = accept(Script::new([request.into_bytes(), bombs]), &config).expect("accepted");
    assert!(socket.get_ref().text().contains("permessage-deflate"));
    for received in 1..=8 {
        let message = socket.recv().expect("a message").expect("a message");
        assert_eq!(message.len(), 1 << 18);
        let decoded = socket.unread.start;
        assert!(decoded <= received * (bomb.len() + 8), "decoded ahead");
    }
    socket.get_mut().written.clear();
    let text = "Hello, hello, hello, hello";
    socket.send(text).expect("sent");
    let written = &socket.get_ref().written;
    assert_eq!(written[0], 0xc1);
    let mut decompressor = Decompressor::new(Role::Client, params);
    assert_eq!(decompressor.decompress(&written[2..]), Ok(text.into()));
}

#[test]
fn response_that_does_not_accept_opens_nothing() {
    let mut script = Script::new([REQUEST]);
    let handshake = Handshake::read(&mut script).expect("a request");
    let error = handshake
        .accept_with(&Config::default(), |accepted| {
            let mut response = accepted.response();
            *response.status_mut() = StatusCode::FORBIDDEN;
            response
        })
        .expect_err("it does not accept");
    assert!(
        matches!(error, AcceptError::Status(StatusCode::FORBIDDEN)),
        "{error:?}"
    );
    assert_eq!(
        script.text(),
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn refusal_that_has_no_body_is_not_waited_for() {
    for (answer, status) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
            304,
        ),
    ] {
        let mut script = Script::new([answer, "never read"]);
        let error = connect(&mut script, "ws://a.example/", &Config::default());
        let error = error.expect_err("refused");
        let response = error.response().expect("a response");
        assert_eq!(response.status().as_u16(), status);
        assert!(response.body().is_empty());
        assert_eq!(script.reads.len(), 1);
    }
}

/// A peer that sends once and reads nothing: each write takes the stream's timeout.
#[derive(Debug)]
struct Stuffed {
    reads: Script,
    writes: usize,
}

impl Read for Stuffed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reads.read(buffer)
    }
}

impl Write for Stuffed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        Err(io::ErrorKind::TimedOut.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn writes_that_block_do_so_once_for_all_that_was_read() -> Result<(), Error> {
    let fragments = from_client(0x00, b"x").repeat(1000);
    let bytes = [from_client(0x02, b"x"), fragments].concat();
    let reads = Script::new([bytes]).then_blocks();
    let stream = Stuffed { reads, writes: 0 };
    let mut socket = WebSocket::upgraded(stream, Role::Server, Config::default(), b"");
    socket.send("never read")?;
    let error = socket.recv().expect_err("nothing more comes");
    assert!(may_repeat(&error), "{error:?}");
    assert!(socket.get_ref().writes < 10, "{:?}", socket.get_ref());
    Ok(())
}

#[test]
fn what_is_too_big_is_read_to_its_end_though_reads_block() {
    let frame = from_client(0x82, &[7; 1001]);
    let (now, later) = frame.split_at(500);
    let script = Script::new([now]).then_blocks().then(later);
    let script = script.then_blocks().then(close_from_client());
    let config = Config::default().max_message_size(1000);
    let mut socket = WebSocket::upgraded(script, Role::Server, config, b"");
    for _ in 0..2 {
        let error = socket.recv().expect_err("it blocks");
        assert!(may_repeat(&error), "{error:?}");
    }
    let error = socket.recv().expect_err("too big");
    assert_eq!(error.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
    assert!(socket.get_ref().reads.is_empty());
}
