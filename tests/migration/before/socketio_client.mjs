import { io } from "socket.io-client";

export function chat(url) {
  return io(url, { transports: ["websocket"] }); // http://host/chat
}
