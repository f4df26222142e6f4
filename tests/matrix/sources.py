"""What the sources of the Rust crates say: `unsafe`, crates brought along, licence, oldest Rust."""
import json
import re
import subprocess

from servers import COMPARE, HERE, ROOT, WORK

# Crate, features that make it what the page speaks of.
CRATES = [
    ("axum", ["ws"]),
    ("tokio-tungstenite", []),
    ("fastwebsockets", ["upgrade"]),
    ("tokio-websockets", ["server", "client", "fastrand", "sha1_smol"]),
    ("yawc", []),
    ("sockudo-ws", []),
    ("actix-ws", []),
]
# Where the protocol of one lies in another crate.
PROTOCOL = {"axum": ["tungstenite", "tokio-tungstenite"], "tokio-tungstenite": ["tungstenite"], "actix-ws": ["actix-http"]}
TOKENS = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.[^\']*|[^\'\\])\'|\bunsafe\b', re.S
)


def packages():
    found = {}
    for folder in (HERE, COMPARE):
        command = ["cargo", "metadata", "--format-version", "1", "--locked", "--manifest-path", folder / "Cargo.toml"]
        text = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
        for package in json.loads(text)["packages"]:
            known = found.get(package["name"])
            if not known or version(package) > version(known):
                found[package["name"]] = package
    return found


def version(package):
    return [int(part) for part in re.findall(r"\d+", package["version"])]


def count_unsafe(package, below="src"):
    """`unsafe` in code: not in comments, nor in strings."""
    import pathlib

    folder = pathlib.Path(package["manifest_path"]).parent / below
    return sum(
        token.group(0) == "unsafe"
        for file in folder.rglob("*.rs")
        for token in TOKENS.finditer(file.read_text())
    )


def unsafe():
    found = packages()
    print("| crate | `unsafe` in `src` |\n|---|---|")
    for name in ["tower-websocket"] + sorted({n for c, _ in CRATES for n in [c, *PROTOCOL.get(c, [])]}):
        # Of actix-http, which is all of HTTP, only its WebSocket.
        below = "src/ws" if name == "actix-http" else "src"
        package = found[name]
        print(f"| {name} {package['version']}{' (`src/ws`)' if name == 'actix-http' else ''} | {count_unsafe(package, below)} |")


def tree(folder, dependency):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "src").mkdir(exist_ok=True)
    (folder / "src" / "lib.rs").write_text("")
    (folder / "Cargo.toml").write_text(
        '[package]\nname = "asks"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n' + dependency + "\n"
    )
    command = ["cargo", "tree", "-e", "normal,build", "--prefix", "none", "--target", "x86_64-unknown-linux-gnu"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout
    # The package that asks, and the crate itself.
    return len({line.removesuffix(" (*)") for line in text.splitlines()}) - 2


def dependencies():
    found = packages()
    print("| crate | features | other crates | licence | oldest Rust |\n|---|---|---|---|---|")
    rows = [("tower-websocket", [], f'tower-websocket = {{ path = "{ROOT}" }}')]
    for name, features in CRATES:
        quoted = ", ".join(f'"{feature}"' for feature in features)
        rows.append((name, features, f'{name} = {{ version = "={found[name]["version"]}", features = [{quoted}] }}'))
    for name, features, dependency in rows:
        count = tree(WORK / "trees" / name, dependency)
        package = found[name]
        features = " + ".join(["default", *features])
        rust = package["rust_version"] or "not said"
        print(f"| {name} {package['version']} | {features} | {count} | {package['license']} | {rust} |", flush=True)
