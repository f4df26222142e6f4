//! A server outlives what goes wrong before a connection is there.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};
use tower_websocket::serve;

use super::{
    app, echoes,
    support::{Dialer, memory},
};
use crate::support::{
    Http,
    http::{Ask, Peer},
    within,
};

/// Opens a WebSocket, as soon as the server takes it. How long that was.
async fn wait_for_echo(dialer: &Dialer) -> Duration {
    let start = Instant::now();
    let mut peer = Peer::over(dialer.dial());
    peer.write(&Ask::handshake(Http::One, "/echo").bytes())
        .await;
    let answer = within(peer.answer()).await;
    within(echoes(answer.opened(Http::One))).await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn server_goes_on_at_once_after_a_connection_that_failed() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    for kind in [
        ErrorKind::ConnectionAborted,
        ErrorKind::ConnectionReset,
        ErrorKind::ConnectionRefused,
        ErrorKind::HostUnreachable,
        ErrorKind::Interrupted,
    ] {
        for _ in 0..1000 {
            dialer.fail(kind.into());
        }
        assert_eq!(wait_for_echo(&dialer).await, Duration::ZERO, "{kind}");
    }
}

/// As the system names them: EMFILE, ENFILE, ENOBUFS, ENOMEM, and EPERM of a firewall.
#[cfg(target_os = "linux")]
const EXHAUSTED: [i32; 5] = [24, 23, 105, 12, 1];
#[cfg(not(target_os = "linux"))]
const EXHAUSTED: [i32; 2] = [24, 23];

#[tokio::test(start_paused = true)]
async fn server_out_of_descriptors_pauses_and_goes_on() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    for error in EXHAUSTED {
        dialer.fail(io::Error::from_raw_os_error(error));
        let pause = wait_for_echo(&dialer).await;
        assert!(pause >= Duration::from_millis(10), "{error}: {pause:?}");
        assert!(pause < Duration::from_millis(100), "{error}: {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_a_second_and_start_anew() {
    let (listener, dialer) = memory();
    tokio::spawn(serve(listener, app()).into_future());
    for _ in 0..2 {
        for _ in 0..40 {
            dialer.fail(io::Error::from_raw_os_error(24));
        }
        // 10 ms, doubled seven times, then a second each.
        let pause = wait_for_echo(&dialer).await;
        let expected = 1.27 + 33.0;
        assert!((pause.as_secs_f32() - expected).abs() < 0.2, "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn server_stops_in_the_middle_of_a_pause() {
    let (listener, dialer) = memory();
    let (signal, stop) = oneshot::channel();
    let serving = serve(listener, app()).graceful_shutdown(async {
        let _stop: Result<(), _> = stop.await;
    });
    let serving = tokio::spawn(serving.into_future());
    for _ in 0..100 {
        dialer.fail(io::Error::from_raw_os_error(24));
    }
    tokio::time::sleep(Duration::from_millis(5500)).await;
    let start = Instant::now();
    signal.send(()).unwrap();
    within(serving).await.unwrap().unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn server_whose_listener_does_not_listen_ends_with_its_error() {
    let (listener, dialer) = memory();
    let serving = tokio::spawn(serve(listener, app()).into_future());
    wait_for_echo(&dialer).await;
    dialer.fail(ErrorKind::InvalidInput.into());
    let error = within(serving).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(dialer.is_closed());
}
