//! Uploads: what is told meanwhile, and what they leave behind.

use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, task::yield_now, time::timeout};
use tower_websocket::{
    CloseCode, MessageKind, TrySendError, WebSocket,
    testing::{self, Empty, TestRequest, WebSocketExt},
};

use super::beats;

#[path = "../../../examples/cookbook/upload.rs"]
#[expect(dead_code, reason = "the example is a program")]
mod example;

use example::{Folder, STEP, app};

const LIMIT: u64 = 4 * STEP;

/// A folder of its own, removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("uploads-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != "lock");
        names.sort();
        names
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Waits until nothing is left in the folder.
async fn is_emptied(temporary: &Temporary) {
    let emptied = async {
        while !temporary.files().is_empty() {
            yield_now().await;
        }
    };
    let emptied = timeout(Duration::from_secs(60), emptied).await;
    emptied.unwrap_or_else(|_| panic!("{:?}", temporary.files()));
}

async fn both(test: impl AsyncFn(TestRequest<Empty>)) {
    test(testing::request("/upload")).await;
    test(testing::request("/upload").http2()).await;
}

async fn begin(client: &mut WebSocket, size: u64) {
    client.send(format!(r#"{{"size":{size}}}"#)).await.unwrap();
    assert_eq!(client.recv_text().await.unwrap(), r#"{"received":0}"#);
}

/// Receives up to what is stored, and returns how often it was told before that more has come.
async fn stored(client: &mut WebSocket, name: &str) -> usize {
    let mut told = 0;
    loop {
        let text = client.recv_text().await.unwrap();
        if *text == *format!(r#"{{"stored":"{name}"}}"#) {
            return told;
        }
        assert!(text.starts_with(r#"{"received":"#), "{text}");
        told += 1;
    }
}

#[tokio::test]
async fn a_file_is_stored_and_told_while_it_comes() {
    both(async |request| {
        let temporary = Temporary::new();
        let folder = Folder::open(&temporary.0).unwrap();
        let (_, mut client) = testing::connect(app(&folder, LIMIT), request)
            .await
            .unwrap();
        let bytes: Vec<u8> = (0..3 * STEP).map(|it| it as u8).collect();
        begin(&mut client, 3 * STEP).await;
        let sender = client.sender();
        let mut message = sender.send_writer(MessageKind::Binary).await.unwrap();
        let (first, rest) = bytes.split_at(2 * STEP as usize);
        message.write_all(first).await.unwrap();
        message.flush().await.unwrap();
        // It is told before the message has ended, and not there under a name that others look for.
        let told = client.recv_text().await.unwrap();
        assert!(told.starts_with(r#"{"received":"#), "{told}");
        assert_eq!(temporary.files(), ["1.part"]);
        message.write_all(rest).await.unwrap();
        message.finish().await.unwrap();
        assert!((1..=2).contains(&stored(&mut client, "1.file").await));
        assert_eq!(fs::read(temporary.0.join("1.file")).unwrap(), bytes);

        // In slices, as browsers do; and nothing at all.
        begin(&mut client, 6).await;
        client.send(vec![1, 2, 3]).await.unwrap();
        client.send(vec![4, 5, 6]).await.unwrap();
        assert_eq!(stored(&mut client, "2.file").await, 0);
        assert_eq!(
            fs::read(temporary.0.join("2.file")).unwrap(),
            [1, 2, 3, 4, 5, 6]
        );
        begin(&mut client, 0).await;
        assert_eq!(stored(&mut client, "3.file").await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_cut_or_cancelled_leaves_nothing_behind() {
    both(async |request| {
        let temporary = Temporary::new();
        let folder = Folder::open(&temporary.0).unwrap();
        let (_, mut client) = testing::connect(app(&folder, LIMIT), request)
            .await
            .unwrap();
        begin(&mut client, 2 * STEP).await;
        client.send(vec![0; STEP as usize]).await.unwrap();
        assert_eq!(temporary.files(), ["1.part"]);
        client.send(r#""cancel""#).await.unwrap();
        client.recv_text().await.unwrap();
        begin(&mut client, 2 * STEP).await;
        assert_eq!(temporary.files(), ["2.part"]);

        let sender = client.sender();
        let mut message = sender.send_writer(MessageKind::Binary).await.unwrap();
        message.write_all(&[0; 100]).await.unwrap();
        message.flush().await.unwrap();
        client.abort();
        is_emptied(&temporary).await;
    })
    .await;
}

#[tokio::test]
async fn what_breaks_the_order_is_closed() {
    type Say = fn(&WebSocket) -> Result<(), TrySendError>;
    let breaches: [(Say, CloseCode); 4] = [
        (
            |client| client.try_send("a file"),
            CloseCode::INVALID_PAYLOAD,
        ),
        (
            |client| client.try_send(vec![1]),
            CloseCode::POLICY_VIOLATION,
        ),
        (
            |client| {
                client.try_send(r#"{"size":1}"#)?;
                client.try_send(vec![1, 2])
            },
            CloseCode::POLICY_VIOLATION,
        ),
        (
            |client| client.try_send(vec![0; LIMIT as usize + 1]),
            CloseCode::MESSAGE_TOO_BIG,
        ),
    ];
    for (say, code) in breaches {
        both(async |request| {
            let temporary = Temporary::new();
            let folder = Folder::open(&temporary.0).unwrap();
            let (_, mut client) = testing::connect(app(&folder, LIMIT), request)
                .await
                .unwrap();
            say(&client).unwrap();
            let end = async { while client.recv().await.unwrap().is_some() {} };
            timeout(Duration::from_secs(60), end).await.unwrap();
            assert_eq!(client.received_close().unwrap().code(), code);
            is_emptied(&temporary).await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_file_beyond_the_limit_is_refused_before_it_is_sent() {
    both(async |request| {
        let temporary = Temporary::new();
        let folder = Folder::open(&temporary.0).unwrap();
        let (_, mut client) = testing::connect(app(&folder, LIMIT), request)
            .await
            .unwrap();
        client
            .send(format!(r#"{{"size":{}}}"#, LIMIT + 1))
            .await
            .unwrap();
        let refused = client.recv_text().await.unwrap();
        assert!(refused.starts_with(r#"{"refused":"#), "{refused}");
        begin(&mut client, LIMIT).await;
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_process_has_left_is_removed_and_no_name_comes_twice() {
    let temporary = Temporary::new();
    fs::create_dir_all(&temporary.0).unwrap();
    for name in ["7.file", "8.part", "notes.txt", "letter.part"] {
        fs::write(temporary.0.join(name), "x").unwrap();
    }
    let folder = Folder::open(&temporary.0).unwrap();
    assert_eq!(temporary.files(), ["7.file", "letter.part", "notes.txt"]);
    let request = testing::request("/upload");
    let (_, mut client) = testing::connect(app(&folder, LIMIT), request)
        .await
        .unwrap();
    begin(&mut client, 0).await;
    stored(&mut client, "9.file").await;
}

#[tokio::test]
async fn a_page_that_only_sends_heartbeats_stays_and_so_does_its_upload() {
    both(async |request| {
        let temporary = Temporary::new();
        let folder = Folder::open(&temporary.0).unwrap();
        let (_, mut client) = testing::connect(app(&folder, LIMIT), request)
            .await
            .unwrap();
        beats(&mut client).await;
        begin(&mut client, 2).await;
        client.send(vec![1]).await.unwrap();
        beats(&mut client).await;
        client.send(vec![2]).await.unwrap();
        assert_eq!(stored(&mut client, "1.file").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_folder_belongs_to_one() {
    let temporary = Temporary::new();
    let folder = Folder::open(&temporary.0).unwrap();
    fs::write(temporary.0.join("1.part"), "under way").unwrap();
    let second = Folder::open(&temporary.0).map(drop);
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    assert_eq!(temporary.files(), ["1.part"]);
    drop(folder);
    Folder::open(&temporary.0).unwrap();
}

#[tokio::test]
async fn no_file_is_replaced_and_numbers_end() {
    let temporary = Temporary::new();
    let folder = Folder::open(&temporary.0).unwrap();
    let request = testing::request("/upload");
    let (_, mut client) = testing::connect(app(&folder, LIMIT), request)
        .await
        .unwrap();
    fs::write(temporary.0.join("1.file"), "of another").unwrap();
    begin(&mut client, 0).await;
    assert!(client.recv_text().await.is_err());
    assert_eq!(temporary.files(), ["1.file"]);
    let kept = fs::read(temporary.0.join("1.file")).unwrap();
    assert_eq!(kept, b"of another");

    let temporary = Temporary::new();
    fs::create_dir_all(&temporary.0).unwrap();
    let highest = format!("{}.file", u64::MAX);
    fs::write(temporary.0.join(&highest), "x").unwrap();
    let folder = Folder::open(&temporary.0).unwrap();
    let request = testing::request("/upload");
    let (_, mut client) = testing::connect(app(&folder, LIMIT), request)
        .await
        .unwrap();
    client.send(r#"{"size":0}"#).await.unwrap();
    assert!(client.recv_text().await.is_err());
    assert_eq!(temporary.files(), [highest]);
}
