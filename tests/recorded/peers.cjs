// npm's `ws`, as `peers.cjs MODULES client URL ENDING` and `peers.cjs MODULES server PORT`: see record.
const [modules, role, where, ending] = process.argv.slice(2);
const WebSocket = require(`${modules}/ws`);

const noise = Buffer.alloc(2000);
for (let i = 0, state = 1; i < noise.length; i++) {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  noise[i] = state >>> 16;
}

function client(url) {
  const socket = new WebSocket(url);
  const long = url.endsWith("/deflate") ? 70000 : 10000;
  const steps = [
    () => socket.send("hello, κόσμε"),
    () => socket.send(Uint8Array.from({ length: 300 }, (_, i) => i * 7)),
    () => { socket.ping("are you there"); socket.send(""); },
    () => {
      socket.send("in three ", { fin: false });
      socket.send("fragments, ", { fin: false });
      socket.ping("between");
      socket.send("κόσμε", { fin: true });
    },
    () => socket.send("0123456789 the same again, ".repeat(long / 20).slice(0, long)),
    () => socket.send(noise),
    () => socket.send(Buffer.alloc(0)),
    () => {
      if (ending === "peer") socket.close(4321, "bye");
      else socket.send(ending === "abort" ? "abort now" : "close me");
    },
    () => {
      // In the middle of a message.
      socket.send("never finished", { fin: false });
      setTimeout(() => socket.terminate(), 200);
    },
  ];
  const say = () => steps.shift()();
  socket.on("open", say);
  socket.on("message", say);
  socket.on("close", (code, reason) => console.log(code, String(reason)));
}

function server(port) {
  const server = new WebSocket.Server({ port, host: "127.0.0.1", perMessageDeflate: { threshold: 0 } });
  server.on("connection", (socket) => {
    let count = 0;
    socket.on("message", (data, binary) => {
      count += 1;
      if (count === 3) socket.ping("are you there");
      if (String(data) === "close me") return socket.close(4000, "as asked");
      if (count === 4) {
        const text = String(data);
        socket.send(text.slice(0, 9), { fin: false });
        return socket.send(text.slice(9), { fin: true });
      }
      socket.send(data, { binary });
      if (String(data) === "abort now") {
        socket.send("never finished", { fin: false });
        setTimeout(() => socket.terminate(), 200);
      }
    });
  });
}

if (role === "client") client(where);
else server(Number(where));
