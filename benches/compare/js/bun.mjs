// Bun's own server: bun bun.mjs PORT MODE
const [port, mode] = process.argv.slice(2);
const compressed = mode === 'shared' || mode === 'dedicated';
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(port),
  fetch(request, server) {
    const member = mode === 'broadcast' && new URL(request.url).pathname !== '/echo';
    if (!server.upgrade(request, { data: { member } })) return new Response('WebSocket only', { status: 400 });
  },
  websocket: {
    perMessageDeflate: compressed && { compress: mode, decompress: mode },
    open(socket) {
      if (socket.data.member) socket.subscribe('all');
    },
    message(socket, data) {
      if (socket.data.member) server.publish('all', data);
      else socket.send(data, compressed);
    },
  },
});
