// npm's ws: node ws.mjs PORT MODE
import { WebSocketServer } from 'ws';

const [port, mode] = process.argv.slice(2);
const perMessageDeflate =
  mode === 'dedicated' ? {} :
  mode === 'shared' ? { serverNoContextTakeover: true, clientNoContextTakeover: true } : false;
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), perMessageDeflate });
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, binary) => {
    const receivers = mode === 'broadcast' ? server.clients : [socket];
    for (const receiver of receivers) receiver.send(data, { binary });
  });
});
