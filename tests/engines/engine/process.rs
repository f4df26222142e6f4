//! One process of an engine.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tower::BoxError;

use super::{reaper, signal};

/// A process that is killed when this is dropped, with what it takes to start it again.
pub(crate) struct Process {
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Starts it; what it says goes to a file in `directory`.
    pub(crate) fn start(
        program: &Path,
        arguments: Vec<String>,
        directory: &Path,
        name: &str,
    ) -> Result<Self, BoxError> {
        let mut process = Self {
            program: program.to_owned(),
            arguments,
            log: directory.join(format!("{name}.log")),
            child: None,
        };
        process.start_again()?;
        Ok(process)
    }

    pub(crate) fn start_again(&mut self) -> Result<(), BoxError> {
        assert!(self.child.is_none(), "it is there already");
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        reaper::note("process", &child.id().to_string());
        self.child = Some(child);
        Ok(())
    }

    /// Kills it as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
            reaper::forget("process", &child.id().to_string());
        }
    }

    /// Stops it: it keeps its connections, and answers nothing.
    pub(crate) fn pause(&self) -> Result<(), BoxError> {
        signal("STOP", self.pid()?)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Result<(), BoxError> {
        signal("CONT", self.pid()?)
    }

    /// Tells it to read its configuration again.
    pub(crate) fn reload(&self) -> Result<(), BoxError> {
        signal("HUP", self.pid()?)
    }

    fn pid(&self) -> Result<u32, BoxError> {
        Ok(self.child.as_ref().ok_or("it is not running")?.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
