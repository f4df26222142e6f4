import { Server } from "socket.io";

const io = new Server();

io.of("/chat").on("connection", (socket) => {
  socket.on("join", (room, answer) => {
    socket.join(room);
    answer({ members: io.of("/chat").adapter.rooms.get(room).size });
  });

  socket.on("say", ({ room, text }, answer) => {
    socket.to(room).emit("said", { room, text });
    answer("ok");
  });

  socket.on("disconnecting", () => {
    for (const room of socket.rooms) {
      socket.to(room).emit("left", { room });
    }
  });
});

io.listen(Number(process.argv[2]));
