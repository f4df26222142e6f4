//! Looks at files that hang, panic, or look like others.

#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::mpsc,
    thread,
};

use tokio_rustls::rustls::{
    crypto::{KeyProvider, ring},
    sign::SigningKey,
};

use super::*;

/// Two files in a directory, gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("tower-websocket-{name}-{}", std::process::id());
        let directory = Self(std::env::temp_dir().join(name));
        fs::create_dir_all(&directory.0).unwrap();
        fs::write(directory.chain(), pem("CERTIFICATE")).unwrap();
        fs::write(directory.key(), pem("PRIVATE KEY")).unwrap();
        directory
    }

    fn chain(&self) -> PathBuf {
        self.0.join("chain")
    }

    fn key(&self) -> PathBuf {
        self.0.join("key")
    }

    /// What a server has that has read a certificate once.
    fn files(&self, provider: CryptoProvider) -> Files {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let chain = vec![made.cert.der().clone()];
        let current = CertifiedKey::from_der(chain, key, &ring::default_provider()).unwrap();
        Files {
            chain: self.chain(),
            key: self.key(),
            provider: Arc::new(provider),
            state: Lock::new(State {
                current: Arc::new(current),
                read: None,
                looked: Instant::now(),
                looking: false,
                problem: None,
            }),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// PEM with three bytes that mean nothing.
fn pem(label: &str) -> String {
    format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
}

#[test]
fn one_looks_at_a_file_that_hangs_and_nobody_else() {
    let directory = Directory::new("pem-hangs");
    let files = Arc::new(directory.files(ring::default_provider()));
    fs::remove_file(directory.chain()).unwrap();
    let made = Command::new("mkfifo").arg(directory.chain()).status();
    assert!(made.unwrap().success());
    let start = Instant::now();
    let look = |seconds| {
        let (files, (done, is_done)) = (files.clone(), mpsc::channel());
        let thread = thread::spawn(move || {
            let _current = files.current(start + Duration::from_secs(seconds));
            done.send(()).unwrap();
        });
        (thread, is_done)
    };
    let (first, is_back) = look(2);
    // Waits until the first one reads, which then waits for what is written.
    let writer = File::options().write(true).open(directory.chain()).unwrap();
    let (second, is_done) = look(4);
    is_done.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(is_back.try_recv().is_err());
    drop(writer);
    first.join().unwrap();
    second.join().unwrap();
    // It was back without a certificate, and the next one looks again.
    assert!(files.state.lock().problem.take().is_some());
    fs::remove_file(directory.chain()).unwrap();
    files.current(start + Duration::from_secs(6));
    let problem = files.state.lock().problem.take().unwrap();
    assert!(problem.contains("No such file"), "{problem}");
}

#[test]
fn look_that_panics_is_not_the_last_one() {
    #[derive(Debug)]
    struct Panics;

    impl KeyProvider for Panics {
        fn load_private_key(
            &self,
            _: PrivateKeyDer<'static>,
        ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
            panic!("as ordered")
        }
    }

    let directory = Directory::new("pem-panics");
    let files = directory.files(CryptoProvider {
        key_provider: &Panics,
        ..ring::default_provider()
    });
    let start = Instant::now();
    for seconds in [2, 4] {
        let now = start + Duration::from_secs(seconds);
        let look = catch_unwind(AssertUnwindSafe(|| files.current(now)));
        assert!(look.is_err(), "after {seconds} s");
    }
}

#[test]
fn file_of_the_same_time_and_length_is_another() {
    let directory = Directory::new("pem-stamps");
    let before = stamp(&directory.chain()).unwrap();
    let next = directory.0.join("next");
    fs::write(&next, pem("CERTIFICATE").replace("AAAA", "BBBB")).unwrap();
    let file = File::options().write(true).open(&next).unwrap();
    file.set_modified(before.0).unwrap();
    fs::rename(&next, directory.chain()).unwrap();
    let after = stamp(&directory.chain()).unwrap();
    assert_eq!((after.0, after.1), (before.0, before.1));
    assert_ne!(after, before);
}

#[test]
fn problem_that_comes_again_is_told_again() {
    let directory = Directory::new("pem-again");
    let files = directory.files(ring::default_provider());
    let stamps = stamps(&directory.chain(), &directory.key()).unwrap();
    let mut state = files.state.lock();
    (state.read, state.problem) = (Some(stamps), Some("gone".to_owned()));
    drop(state);
    files.current(Instant::now() + Duration::from_secs(2));
    assert_eq!(files.state.lock().problem, None);
}
