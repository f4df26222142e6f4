//! What is expected of a program in a terminal: `--help`, errors in words.

use std::{env, process::ExitCode};

use tower::BoxError;

/// Runs an example with its arguments: prints `usage` for `--help`, and an error in words, with its causes.
pub(crate) async fn run<F>(usage: &str, example: impl FnOnce(Vec<String>) -> F) -> ExitCode
where
    F: Future<Output = Result<(), BoxError>>,
{
    let arguments: Vec<_> = env::args().skip(1).collect();
    if arguments.iter().any(|it| it == "--help" || it == "-h") {
        println!("{usage}");
        return ExitCode::SUCCESS;
    }
    let Err(error) = example(arguments).await else {
        return ExitCode::SUCCESS;
    };
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        words += &format!(": {next}");
        cause = next.source();
    }
    eprintln!("error: {words}");
    ExitCode::FAILURE
}
