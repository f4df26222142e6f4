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
    else this.unsent.push(text); // Socket.IO does so, too
  }

  emitWithAck(event, data) {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.unanswered.set(id, { resolve, reject });
      this.emit(event, data, id);
    });
  }

  disconnect() {
    this.finished = true;
    clearTimeout(this.timer);
    this.socket.close(1000);
  }

  open() {
    this.socket = new WebSocket(this.url);
    this.socket.onopen = () => {
      this.delay = 500;
      this.handlers.get("connect")?.();
      for (const text of this.unsent.splice(0)) this.socket.send(text);
    };
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.event) this.handlers.get(message.event)?.(message.data);
      else this.answered(message.id)?.resolve(message.data);
    };
    this.socket.onclose = ({ code }) => {
      for (const id of this.unanswered.keys()) {
        this.answered(id).reject(new Error(`closed with ${code}`)); // sent or not: ask again
      }
      this.handlers.get("disconnect")?.(code);
      if (this.finished) return;
      this.timer = setTimeout(() => this.open(), this.delay * (0.5 + Math.random()));
      this.delay = Math.min(2 * this.delay, 30_000);
    };
  }

  answered(id) {
    const asked = this.unanswered.get(id);
    this.unanswered.delete(id);
    return asked;
  }
}
