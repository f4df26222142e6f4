// npm's ws: node ws.mjs PORT MODE
import { WebSocketServer } from 'ws';

const [port, mode] = process.argv.slice(2);
const perMessageDeflate =
  mode === 'dedicated' ? {} :
  mode === 'shared' ? { serverNoContextTakeover: true, clientNoContextTakeover: true } : false;
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(port), perMessageDeflate });
const members = new Set();
server.on('connection', (socket, request) => {
  const member = mode === 'broadcast' && request.url !== '/echo';
  if (member) {
    members.add(socket);
    socket.on('close', () => members.delete(socket));
  }
  socket.on('error', () => {});
  socket.on('message', (data, binary) => {
    const receivers = member ? members : [socket];
    for (const receiver of receivers) receiver.send(data, { binary });
  });
});
