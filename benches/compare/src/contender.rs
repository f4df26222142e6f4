//! Who takes part: the servers of this binary, and those of other languages that are installed.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::load::Load;
use crate::options::Options;
use crate::scenario::Scenario;
use crate::serve::{ALL, Mode, PEERS};

/// A server that can be started.
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The words of its command; `{port}` and `{mode}` are filled in.
    command: Vec<String>,
    modes: Vec<Mode>,
    http2: bool,
    pub(crate) raw: bool,
    tls: bool,
}

impl Contender {
    /// The command for a row, or `None` where it does not take part.
    pub(crate) fn command(&self, scenario: &Scenario, options: &Options) -> Option<Vec<String>> {
        let ours = self.tls;
        let can = self.modes.contains(&scenario.mode)
            && (self.http2 || !scenario.is_http2())
            && (!self.raw || scenario.is_for_raw())
            && (ours || !options.tls)
            && !(options.tls && matches!(scenario.load, Load::Tail(_)));
        if !can || (options.tls && self.name == "wtx") {
            return None;
        }
        let mode = scenario.mode.name();
        let mut command: Vec<String> = self
            .command
            .iter()
            .map(|word| word.replace("{mode}", mode))
            .collect();
        if ours {
            command.extend(scenario.is_http2().then(|| "--http2".to_owned()));
            command.extend(["--threads".to_owned(), options.threads.to_string()]);
        }
        Some(command)
    }
}

/// All that can take part, and a line for each that is left out.
pub(crate) fn all(options: &Options) -> io::Result<(Vec<Contender>, Vec<String>)> {
    let program = env::current_exe()?.to_string_lossy().into_owned();
    let mut contenders: Vec<Contender> = PEERS
        .iter()
        .map(|peer| Contender {
            name: peer.name.to_owned(),
            version: format!("{} {}", peer.package, locked(peer.package)),
            command: ["serve", peer.name, "{port}", "{mode}"].into_iter().fold(
                vec![program.clone()],
                |mut words, word| {
                    words.push(word.to_owned());
                    words
                },
            ),
            modes: peer.modes.to_vec(),
            http2: peer.http2,
            raw: peer.raw,
            tls: true,
        })
        .collect();
    let mut left_out = Vec::new();
    for script in [node(), bun()] {
        match script {
            Ok(contender) => contenders.push(contender),
            Err(reason) => left_out.push(reason),
        }
    }
    for (name, command) in &options.external {
        let command = command.split_whitespace().map(str::to_owned).collect();
        contenders.push(Contender {
            modes: vec![Mode::Echo],
            ..external(name, format!("`{name}`"), command)
        });
    }
    Ok((contenders, left_out))
}

/// The version of a package that this binary was built with: the newest of several.
fn locked(package: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = format!("name = \"{package}\"\nversion = \"");
    let start = lock.rfind(&entry).map(|at| at + entry.len());
    start
        .and_then(|start| lock[start..].split('"').next())
        .unwrap_or("unknown")
}

/// npm's `ws` on Node.js.
fn node() -> Result<Contender, String> {
    let package = scripts().join("node_modules/ws/package.json");
    let (Some(node), Ok(package)) = (
        output("node", "--version"),
        std::fs::read_to_string(package),
    ) else {
        return Err("ws (npm): not installed here; `npm install` in `js` adds it".to_owned());
    };
    let version = package
        .split("\"version\": \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let version = format!(
        "ws (npm) {} on Node.js {node}",
        version.unwrap_or("unknown")
    );
    Ok(external("ws-npm", version, script("node", "ws.mjs")))
}

/// Bun's own server, which is uWebSockets.
fn bun() -> Result<Contender, String> {
    let local = scripts().join("node_modules/.bin/bun");
    let program = [local.to_string_lossy().into_owned(), "bun".to_owned()];
    let found = program
        .iter()
        .find_map(|bun| Some((bun, output(bun, "--version")?)));
    let Some((program, version)) = found else {
        return Err("Bun: not installed here; `npm install` in `js` adds it".to_owned());
    };
    Ok(external(
        "bun",
        format!("Bun {version}"),
        script(program, "bun.mjs"),
    ))
}

fn external(name: &str, version: String, command: Vec<String>) -> Contender {
    Contender {
        name: name.to_owned(),
        version,
        command,
        modes: ALL.to_vec(),
        http2: false,
        raw: false,
        tls: false,
    }
}

fn script(program: &str, file: &str) -> Vec<String> {
    let file = scripts().join(file).to_string_lossy().into_owned();
    vec![
        program.to_owned(),
        file,
        "{port}".to_owned(),
        "{mode}".to_owned(),
    ]
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("js")
}

/// The first line that a program writes, if it runs at all.
pub(crate) fn output(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout)
        .lines()
        .next()?
        .to_owned();
    output.status.success().then_some(text)
}
