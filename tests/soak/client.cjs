// Clients with npm's `ws` (HTTP/1.1) or `undici` (HTTP/2); the same as clients.py.
//
//     client.cjs MODULES ws|undici PLAIN_PORT TLS_PORT SECONDS
const [modules, name, plain, tls, seconds] = process.argv.slice(2);
const library = require(`${modules}/${name}`);

const end = Date.now() + 1000 * seconds;
const seen = { opened: 0, messages: 0, wrong: [] };
const sleep = (most) => new Promise((done) => setTimeout(done, Math.random() * most));

// What the server does while it is started again is none of this program's faults.
process.on("uncaughtException", (error) => seen.wrong.push(String(error.stack)));

function open() {
  if (name === "ws") {
    const path = Math.random() < 0.5 ? "/soaked" : "/soaked-deflate";
    return new library(`ws://127.0.0.1:${plain}${path}`, { maxPayload: 0 });
  }
  const dispatcher = new library.Agent({ allowH2: true, connect: { rejectUnauthorized: false } });
  const socket = new library.WebSocket(`wss://127.0.0.1:${tls}/soaked`, { dispatcher });
  socket.addEventListener("close", () => dispatcher.destroy().catch(() => {}));
  return socket;
}

function one() {
  return new Promise((done) => {
    const socket = open();
    const until = Math.min(end, Date.now() + Math.random() * 10000);
    const waiting = [];
    const leave = () => {
      if (socket.terminate && Math.random() < 0.3) return socket.terminate();
      socket.close(Math.random() < 0.5 ? 1000 : 4000, "enough");
    };
    const say = () => {
      if (socket.readyState !== 1) return;
      if (Date.now() > until) return leave();
      for (let count = 1 + Math.floor(Math.random() * 4); count > 0; count--) {
        const text = "x".repeat(Math.random() * 2 ** Math.floor(Math.random() * 17));
        waiting.push(text);
        socket.send(text);
      }
    };
    socket.addEventListener("open", () => { seen.opened += 1; say(); });
    socket.addEventListener("message", ({ data }) => {
      if (data.startsWith("room ")) return;
      if (data !== waiting.shift()) seen.wrong.push(`no echo: ${data.length}`);
      seen.messages += 1;
      if (waiting.length === 0) sleep(400).then(say);
    });
    socket.addEventListener("error", () => {});
    socket.addEventListener("close", done);
  });
}

async function churn() {
  while (Date.now() < end) {
    await Promise.race([one(), sleep(0).then(() => new Promise((done) => setTimeout(done, 30000)))]);
    await sleep(500);
  }
}

Promise.all([0, 1, 2, 3].map(churn)).then(() => {
  console.log(JSON.stringify({ ...seen, wrong: seen.wrong.slice(0, 5) }));
  process.exit();
});
