export function chat(url) {
  return new Events(url); // ws://host/chat
}

class Events {
  handlers = new Map();
  unanswered = new Map();
  unsent = [];
  nextId = 1;
  delay = 500;

  constructor(url) {
    this.url = url;
    this.open();
  }

  on(event, handler) {
    this.handlers.set(event, handler);
  }

  emit(event, data, id) {
    const text = JSON.stringify({ event, data, id });
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text);
    else if (!this.finished) this.unsent.push({ id, text }); // Socket.IO does so, too
  }

  emitWithAck(event, data) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      if (this.finished) return reject(new Error("disconnected"));
      this.unanswered.set(id, { resolve, reject });
      this.emit(event, data, id);
    });
  }

  disconnect() {
    this.finished = true;
    clearTimeout(this.timer);
    this.unsent = [];
    this.fail("disconnected");
    this.socket.close(1000);
  }

  open() {
    this.socket = new WebSocket(this.url);
    this.socket.onopen = () => {
      this.handlers.get("connect")?.();
      for (const { text } of this.unsent.splice(0)) this.socket.send(text);
    };
    this.socket.onmessage = ({ data }) => {
      this.delay = 500; // only now: a server that closes at once is no reason to hurry
      const message = JSON.parse(data);
      if (message.event) this.handlers.get(message.event)?.(message.data);
      else this.answered(message.id)?.resolve(message.data);
    };
    this.socket.onclose = ({ code }) => {
      this.fail(`closed with ${code}`);
      this.handlers.get("disconnect")?.(code);
      if (this.finished) return;
      this.timer = setTimeout(() => this.open(), this.delay * (0.5 + Math.random()));
      this.delay = Math.min(2 * this.delay, 30_000);
    };
  }

  // Rejects what was sent: the server has done it or not. What is still to be sent goes on waiting.
  fail(reason) {
    const waiting = new Set(this.unsent.map(({ id }) => id));
    for (const id of this.unanswered.keys()) {
      if (!waiting.has(id)) this.answered(id).reject(new Error(reason));
    }
  }

  answered(id) {
    const asked = this.unanswered.get(id);
    this.unanswered.delete(id);
    return asked;
  }
}
