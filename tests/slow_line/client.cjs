// One client with npm's `ws`; the same as client.py.
const [modules, url] = process.argv.slice(2);
const WebSocket = require(`${modules}/ws`);

const SIZE = 16384;
const target = new URL(url);
const expected = Number(target.searchParams.get("bytes")) / SIZE;
const seen = { messages: 0, wrong: null, code: null, clean: false, error: "" };
const start = Date.now();

const socket = new WebSocket(url, { perMessageDeflate: false, rejectUnauthorized: false, maxPayload: 0 });
socket.on("message", (data) => {
  const number = seen.messages;
  const right = data.length === SIZE && data.readBigUInt64BE(0) === BigInt(number)
    && data.subarray(8).every((byte) => byte === number % 256);
  if (!right) seen.wrong ??= `message ${number} is not what was sent`;
  seen.messages += 1;
  if (target.pathname === "/silence" && seen.messages === expected) socket.send("all of it");
});
// As `heartbeat` in client.py.
socket.on("open", () => {
  if (target.pathname !== "/return") return;
  const beating = setInterval(() => socket.pong(), 2000);
  socket.on("close", () => clearInterval(beating));
});
socket.on("error", (error) => { seen.error = String(error); });
socket.on("close", (code) => {
  // `ws` says 1006 unless a Close frame came, and it answers each.
  Object.assign(seen, { code, clean: code !== 1006, seconds: (Date.now() - start) / 1000 });
  console.log(JSON.stringify(seen));
});
