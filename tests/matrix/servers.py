"""The servers that are asked, and how each is started."""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "matrix"
COMPARE = ROOT / "benches" / "compare"
HERE = ROOT / "tests" / "matrix"
# Of `benches/compare`: name, modes.
OF_COMPARE = {
    "ours": {"echo", "shared", "dedicated"},
    "axum": {"echo"},
    "tungstenite": {"echo"},
    "fastwebsockets": {"echo"},
    "tokio-websockets": {"echo"},
    "yawc": {"echo", "shared", "dedicated"},
    "sockudo": {"echo", "shared", "dedicated"},
}
# Of this folder.
OURS = ("actix-ws", "yawc-utf8")


def say(text):
    print(text, file=sys.stderr, flush=True)


def build(manifest):
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest], check=True, cwd=ROOT)


def target(manifest_folder):
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", manifest_folder / "target")) / "debug"


def python():
    """A Python with websockets in it, or None."""
    env = WORK / "python"
    if not (env / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", env], check=True)
    program = env / "bin" / "python"
    if subprocess.run([program, "-c", "import websockets"], capture_output=True).returncode != 0:
        if subprocess.run([env / "bin" / "pip", "install", "--quiet", "websockets"]).returncode != 0:
            return None
    return program


def javascript():
    """A folder with npm's ws and Bun in it, or None."""
    folder = WORK / "js"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "ws.mjs", "bun.mjs"):
        shutil.copy(COMPARE / "js" / file, folder)
    if not (folder / "node_modules" / "ws").exists():
        if not shutil.which("npm") or subprocess.run(["npm", "install", "--silent"], cwd=folder).returncode != 0:
            return None
    return folder


def commands(wanted):
    """Name, modes, and what starts it given port and mode."""
    WORK.mkdir(parents=True, exist_ok=True)
    found = {}
    names = [name for name in OF_COMPARE if not wanted or name in wanted]
    if names:
        build(COMPARE / "Cargo.toml")
        compare = target(COMPARE) / "compare"
        for name in names:
            found[name] = (OF_COMPARE[name], lambda port, mode, name=name: [compare, "serve", name, str(port), mode])
    names = [name for name in OURS if not wanted or name in wanted]
    if names:
        build(HERE / "Cargo.toml")
        matrix = target(HERE) / "matrix"
        for name in names:
            found[name] = ({"echo"}, lambda port, mode, name=name: [matrix, name, str(port)])
    if not wanted or "websockets" in wanted:
        interpreter = python()
        if interpreter:
            # Its default is compression, with context takeover.
            found["websockets"] = ({"echo", "dedicated"}, lambda port, mode: [interpreter, HERE / "echo.py", str(port)])
        else:
            say("LEFT OUT: Python's websockets (pip has failed)")
    if not wanted or {"ws", "bun"} & set(wanted):
        folder = javascript()
        if folder:
            all_modes = {"echo", "shared", "dedicated"}
            bun = folder / "node_modules" / ".bin" / "bun"
            found["ws"] = (all_modes, lambda port, mode: ["node", folder / "ws.mjs", str(port), mode])
            found["bun"] = (all_modes, lambda port, mode: [bun, folder / "bun.mjs", str(port), mode])
        else:
            say("LEFT OUT: npm's ws and Bun (no npm, or it has failed)")
    return {name: it for name, it in found.items() if not wanted or name in wanted}


class Server:
    """A server that runs until the block is left."""

    def __init__(self, start, mode):
        self.start, self.mode = start, mode

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [str(part) for part in self.start(self.port, self.mode)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise SystemExit(f"nothing listens: {' '.join(command)}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def memory(self):
        """Resident memory of the process, in bytes."""
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        return 0

    def open_files(self):
        """Descriptors of the process: one less when it has given a connection up."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))
