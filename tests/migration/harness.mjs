// What the two clients in JavaScript need: a server that is started, killed and started again, and events to wait for.

import { spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import { WebSocket } from "ws";

// Node has one of its own since version 22. As there and in browsers, an error that is not listened to ends nothing.
globalThis.WebSocket ??= class extends WebSocket {
  constructor(url) {
    super(url);
    this.on("error", () => {});
  }
};

// Not one that the system hands out: a client that tries again while nothing listens there would connect to itself.
export async function freePort() {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20_000 + Math.floor(10_000 * Math.random());
    const server = createServer().listen(port, "127.0.0.1");
    const free = await new Promise((resolve) => {
      server.once("listening", () => server.close(() => resolve(true))).once("error", () => resolve(false));
    });
    if (free) return port;
  }
  throw new Error("no port is free");
}

export async function start(command, port) {
  const [program, ...rest] = command;
  const address = program === "node" ? String(port) : `127.0.0.1:${port}`;
  const child = spawn(program, [...rest, address], { stdio: "inherit" });
  process.once("exit", () => child.kill("SIGKILL")); // also when a check fails
  for (let tries = 0; tries < 100 && child.exitCode === null; tries++) {
    const listens = await new Promise((resolve) => {
      const socket = connect(port, "127.0.0.1", () => {
        resolve(true);
        socket.destroy();
      });
      socket.once("error", () => resolve(false));
    });
    if (listens) return child;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${program} does not listen`);
}

export async function kill(child) {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
}

// No check waits for longer than ten seconds, but for an answer that never comes.
setTimeout(() => {
  console.error("nothing went on for two minutes");
  process.exit(1);
}, 120_000).unref();

// Events in the order in which they came, each taken once.
export class Heard {
  events = [];
  waiting = [];

  put(event) {
    const next = this.waiting.shift();
    if (next) next(event);
    else this.events.push(event);
  }

  next() {
    if (this.events.length > 0) return Promise.resolve(this.events.shift());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("nothing came for ten seconds")), 10_000);
      this.waiting.push((event) => {
        clearTimeout(timer);
        resolve(event);
      });
    });
  }
}
