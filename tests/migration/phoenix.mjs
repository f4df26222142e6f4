// Phoenix's own client against a Phoenix and against the example `phoenix`: phoenix.mjs before|after COMMAND...

import assert from "node:assert/strict";
import { Presence, Socket } from "phoenix";
import { WebSocket } from "ws";
import { Heard, freePort, kill, start } from "./harness.mjs";

const [side, ...command] = process.argv.slice(2);
const port = await freePort();
const url = `ws://127.0.0.1:${port}/socket`;
const passed = [];

function answer(push) {
  return new Promise((resolve) => {
    push
      .receive("ok", (response) => resolve({ ok: response }))
      .receive("error", (response) => resolve({ error: response }))
      .receive("timeout", () => resolve("timeout"));
  });
}

function names(presence) {
  return presence.list((name, { metas }) => `${name} ${metas.length}`).sort();
}

async function member(name) {
  const socket = new Socket(url, { transport: WebSocket, reconnectAfterMs: () => 100, rejoinAfterMs: () => 100 });
  socket.connect();
  const channel = socket.channel("room:lobby", { name });
  const heard = new Heard();
  const presence = new Presence(channel);
  presence.onSync(() => heard.put(names(presence)));
  const messages = new Heard();
  channel.on("new_msg", (payload) => messages.put(payload));
  assert.deepEqual(await answer(channel.join()), { ok: {} });
  return { socket, channel, heard, messages };
}

let server = await start(command, port);
const ann = await member("ann");
assert.deepEqual(await ann.heard.next(), ["ann 1"]);
const bob = await member("bob");
assert.deepEqual(await bob.heard.next(), ["ann 1", "bob 1"]);
assert.deepEqual(await ann.heard.next(), ["ann 1", "bob 1"]);
passed.push("join, presence_state, presence_diff");

const text = { body: 'hello "all"' };
assert.deepEqual(await answer(bob.channel.push("new_msg", text)), { ok: {} });
assert.deepEqual(await ann.messages.next(), text);
assert.deepEqual(await bob.messages.next(), text);
passed.push("push, reply, broadcast");

const refused = ann.socket.channel("vault:1", { name: "ann" });
assert.deepEqual(await answer(refused.join()), { error: { reason: "unauthorized" } });
refused.leave();
passed.push("refusal");

await new Promise((resolve) => assert.ok(ann.socket.ping(resolve)));
passed.push("heartbeat");

const again = await member("ann");
assert.deepEqual(await again.heard.next(), ["ann 2", "bob 1"]);
assert.deepEqual(await ann.heard.next(), ["ann 2", "bob 1"]);
again.socket.disconnect();
assert.deepEqual(await ann.heard.next(), ["ann 1", "bob 1"]);
passed.push("two tabs");

for (let count = 0; count < 2; count++) await bob.heard.next(); // the other ann came and went
assert.deepEqual(bob.heard.events, []);
assert.deepEqual(await answer(bob.channel.leave()), { ok: {} });
assert.deepEqual(await ann.heard.next(), ["ann 1"]);
passed.push("leave");

await kill(server);
server = await start(command, port);
assert.deepEqual(await ann.heard.next(), ["ann 1"]); // it has joined again by itself
assert.deepEqual(await answer(ann.channel.push("new_msg", text)), { ok: {} });
passed.push("rejoin");

// An event without a handler: the channel crashes there, and is joined again; here it is an answer.
const dance = answer(ann.channel.push("dance", {}, 1000));
assert.deepEqual(await dance, side === "before" ? "timeout" : { error: { reason: "unknown event" } });
passed.push("unknown event");

ann.socket.disconnect();
bob.socket.disconnect();
await kill(server);
console.log(`${side}/phoenix: ${passed.join(", ")}`);
process.exit(0); // timers of the client's
