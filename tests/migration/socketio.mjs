// The same client against Socket.IO and against what takes its place: socketio.mjs before|after COMMAND...

import assert from "node:assert/strict";
import { WebSocketServer } from "ws";
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

// What a class of one's own has to do as the library did, against a server that answers all but `wait`.
async function alone() {
  const port = await freePort();
  const client = chat(`ws://127.0.0.1:${port}`);
  const failed = new Heard();
  client.on("disconnect", () => failed.put(client.delay));
  const first = client.emitWithAck("pay", 10);
  assert.deepEqual([await failed.next(), await failed.next()], [500, 1000]); // nothing listens there
  const texts = [];
  const server = new WebSocketServer({ port, host: "127.0.0.1" });
  const answering = (socket) => {
    socket.on("message", (text) => {
      const { event, data, id } = JSON.parse(text);
      texts.push(data);
      if (event !== "wait") socket.send(JSON.stringify({ id, data: "ok" }));
    });
  };
  server.on("connection", answering);
  assert.equal(await first, "ok");

  const closing = (socket) => socket.close(1013);
  server.off("connection", answering).on("connection", closing);
  for (const socket of server.clients) closing(socket);
  assert.deepEqual([await failed.next(), await failed.next()], [500, 1000]); // being let in alone changes nothing
  server.off("connection", closing).on("connection", answering);
  assert.equal(await client.emitWithAck("pay", 20), "ok");
  assert.deepEqual(texts, [10, 20]); // each once
  const waiting = client.emitWithAck("wait", 30);
  client.disconnect();
  await assert.rejects(waiting, /disconnected/);
  await assert.rejects(client.emitWithAck("pay", 40), /disconnected/);
  server.close();

  const never = chat(`ws://127.0.0.1:${await freePort()}`);
  const unsent = never.emitWithAck("pay", 50);
  never.disconnect();
  await assert.rejects(unsent, /disconnected/);
}

if (side === "after") {
  await alone();
  passed.push("each request once, and answered or rejected");
}
console.log(`${side}/socketio: ${passed.join(", ")}`);
