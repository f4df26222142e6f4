// Socket.IO with one of its adapters for Redis: node server.mjs classic|sharded|streams URL
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [kind, url] = process.argv.slice(2);

async function client() {
  const client = createClient({ url });
  // Without a listener an error ends the process.
  client.on("error", () => {});
  await client.connect();
  return client;
}

const adapter = {
  classic: async () => createAdapter(await client(), await client()),
  sharded: async () => createShardedAdapter(await client(), await client()),
  streams: async () => createStreamsAdapter(await client()),
}[kind];

const http = createServer();
const io = new Server(http, { adapter: await adapter(), pingInterval: 300_000, transports: ["websocket"] });
io.on("connection", (socket) => {
  socket.on("join", (room) => socket.join(room));
});
http.listen(0, "127.0.0.1", () => console.log(`port ${http.address().port}`));

const text = "x".repeat(100);
const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

// `go ROOMS COUNT RATE BURST`: messages a second, and how many at a time to a room.
for await (const line of createInterface({ input: process.stdin })) {
  const [, rooms, count, rate, burst] = line.split(" ").map(Number);
  const begun = performance.now();
  for (let at = 0; at < count; ) {
    const bursts = Math.floor(((performance.now() - begun) * rate) / 1000 / burst) + 1;
    const due = Math.min(count, bursts * burst);
    for (; at < due; at += 1) io.to(`r${Math.floor(at / burst) % rooms}`).emit("m", text);
    await pause(1);
  }
  console.log("done");
}
process.exit(0);
