// The same client against Socket.IO and against what takes its place: socketio.mjs before|after COMMAND...

import assert from "node:assert/strict";
import { Heard, freePort, kill, start } from "./harness.mjs";

const [side, ...command] = process.argv.slice(2);
const { chat } = await import(`./${side}/socketio_client.mjs`);
const port = await freePort();
const url = `${side === "before" ? "http" : "ws"}://127.0.0.1:${port}/chat`;
const passed = [];

function member() {
  const heard = new Heard();
  const client = chat(url);
  client.on("connect", async () => {
    heard.put({ joined: await client.emitWithAck("join", "lobby") }); // anew after each interruption
  });
  client.on("disconnect", () => heard.put("interrupted"));
  client.on("said", (data) => heard.put({ said: data }));
  client.on("left", (data) => heard.put({ left: data }));
  return { client, heard };
}

let server = await start(command, port);
const ann = member();
assert.deepEqual(await ann.heard.next(), { joined: { members: 1 } });
const bob = member();
assert.deepEqual(await bob.heard.next(), { joined: { members: 2 } });
passed.push("acknowledgement");

const said = { room: "lobby", text: "hello" };
assert.equal(await bob.client.emitWithAck("say", said), "ok");
assert.deepEqual(await ann.heard.next(), { said });
assert.equal(await ann.client.emitWithAck("say", said), "ok");
assert.deepEqual(await bob.heard.next(), { said });
assert.deepEqual(bob.heard.events, []); // nothing of what it said itself
passed.push("room");

await kill(server);
assert.equal(await ann.heard.next(), "interrupted");
assert.equal(await bob.heard.next(), "interrupted");
const unsent = ann.client.emitWithAck("say", { room: "nobody", text: "later" });
server = await start(command, port);
const counts = [await ann.heard.next(), await bob.heard.next()].map(({ joined }) => joined.members);
assert.deepEqual(counts.sort(), [1, 2]);
assert.equal(await unsent, "ok");
passed.push("reconnection");

ann.client.emit("dance", {});
if (side === "before") {
  assert.equal(await ann.client.emitWithAck("say", said), "ok"); // what has no handler is ignored
  assert.deepEqual(await bob.heard.next(), { said });
} else {
  assert.equal(await ann.heard.next(), "interrupted"); // with 1007
  assert.deepEqual(await bob.heard.next(), { left: { room: "lobby" } });
  assert.deepEqual(await ann.heard.next(), { joined: { members: 2 } });
}
passed.push("unknown event");

bob.client.disconnect();
assert.deepEqual(await ann.heard.next(), { left: { room: "lobby" } });
ann.client.disconnect();
passed.push("leaving");

await kill(server);
console.log(`${side}/socketio: ${passed.join(", ")}`);
