// A WebSocket that comes back. Copy it: it needs nothing else.
const DEFAULTS = { // all times in milliseconds
  protocols: [], // or a function, asked at each attempt, as `url`
  firstPause: 1000, maxPause: 30_000, // the bound of a pause, which doubles at each attempt; a pause is random below it
  stable: 10_000, // the pauses start over after a connection that was open for so long
  openTimeout: 15_000, // for the address and the handshake together
  heartbeat: 25_000, patience: 10_000, // `ping` after so much silence, and how long it may last then; 0: none
  ping: '"ping"', pong: '"pong"', // JSON: pages cannot send control frames, so the server's application answers
  maxQueue: 0, // how many messages wait for a connection
  maxBuffered: 1 << 20, // bytes that the browser may have left to write
  stop: code => [1000, 1003, 1007, 1008, 1009, 3000, 3003].includes(code) || code >= 4000,
  onopen() {}, // what is sent from here leaves before what has waited
  onmessage(_data) {},
  onstate(_state, _detail) {}, // connecting, open, waiting: { pause, code, reason }, closed: { code, reason }
};
const EVENTS = ['online', 'visibilitychange', 'pagehide', 'pageshow'];
const ask = async (value, signal) => typeof value === 'function' ? value(signal) : value;

export class ReconnectingSocket {
  #options; #socket = null; #queue = []; #state = 'connecting';
  #attempts = 0; #opened = 0; #turn = 0; #timer; #probing = false; #attempt;

  /**
   * `url`: a string, or a function that returns it, or a promise of it, at each attempt; `null` ends it. The function gets
   * an `AbortSignal`, which is aborted when the attempt is given up.
   */
  constructor(url, options = {}) {
    this.#options = { ...DEFAULTS, ...options, url };
    for (const event of EVENTS) addEventListener(event, this.#wake, true);
    this.#after(0, () => this.#connect());
  }

  /** Returns whether the message was taken. It may still be lost with the connection. */
  send(data) {
    const socket = this.#socket, open = this.#state === 'open' && socket.readyState === WebSocket.OPEN;
    if (open && socket.bufferedAmount > this.#options.maxBuffered) return false; // slow, or half open
    if (open) return socket.send(data), true;
    if (this.#state === 'closed' || this.#queue.length >= this.#options.maxQueue) return false;
    return this.#queue.push(data) > 0;
  }

  /** Ends it for good. `code`: 1000, or from 3000 to 4999. */
  close(code = 1000, reason = '') { if (this.#state !== 'closed') this.#end(code, reason); }

  async #connect() {
    const { url, protocols, openTimeout, onopen, onmessage, pong } = this.#options;
    const turn = ++this.#turn, late = () => turn !== this.#turn;
    const { signal } = this.#attempt = new AbortController();
    this.#after(openTimeout, () => this.#lost(1006, 'does not open'));
    this.#become('connecting');
    try {
      const [address, names] = await Promise.all([ask(url, signal), ask(protocols, signal)]);
      if (late()) return;
      if (!address) return this.#end(1000, 'no address');
      this.#socket = new WebSocket(address, names);
    } catch (error) {
      return late() || this.#lost(1006, String(error));
    }
    const socket = Object.assign(this.#socket, { binaryType: 'arraybuffer' });
    socket.onopen = () => {
      if (late()) return;
      this.#opened = performance.now();
      this.#listen();
      this.#become('open');
      try {
        onopen();
      } finally {
        for (const data of this.#queue.splice(0)) socket.send(data);
      }
    };
    socket.onmessage = ({ data }) => {
      if (late()) return;
      this.#listen();
      if (data !== pong) onmessage(data);
    };
    socket.onclose = ({ code, reason }) => late() || this.#lost(code, reason);
  }

  #lost(code, reason) {
    const { stop, firstPause, maxPause, stable } = this.#options;
    if (stop(code)) return this.#end(code, reason);
    if (this.#opened && performance.now() - this.#opened >= stable) this.#attempts = 0;
    this.#drop();
    const bound = Math.min(maxPause, firstPause * 2 ** this.#attempts++);
    const pause = code === 1013 ? maxPause * (1 + Math.random()) / 2 : bound * Math.random(); // 1013: it has too many
    this.#after(pause, () => this.#connect());
    this.#become('waiting', { pause, code, reason });
  }

  #end(code, reason) {
    this.#drop(code >= 3000 ? code : 1000, reason);
    for (const event of EVENTS) removeEventListener(event, this.#wake, true);
    this.#queue = [];
    this.#become('closed', { code, reason });
  }

  /** Lets go of a connection: it may be half open, and nothing more is heard of it. */
  #drop(code = 1000, reason = '') {
    clearTimeout(this.#timer);
    this.#attempt?.abort();
    this.#socket?.close(code, reason);
    [this.#socket, this.#opened, this.#probing] = [null, 0, false];
    this.#turn++;
  }

  #listen() { // something has come: the silence starts over
    clearTimeout(this.#timer);
    this.#probing = false;
    if (this.#options.heartbeat) this.#after(this.#options.heartbeat, () => this.#probe());
  }

  #probe() {
    if (this.#probing) return;
    this.#probing = true;
    this.#socket.send(this.#options.ping);
    // Once more around: if the page was busy, what has come meanwhile is heard first.
    this.#after(this.#options.patience, () => setTimeout(() => this.#probing && this.#lost(1006, 'does not answer')));
  }

  #wake = ({ type, persisted }) => { // the network is back, or the page is looked at, or left, or shown again
    if (type.startsWith('page') && !persisted || type === 'visibilitychange' && document.hidden) return;
    if (type === 'pagehide') return this.#lost(1001, 'the page is left'), clearTimeout(this.#timer); // kept for Back
    if (this.#state === 'waiting') this.#connect();
    else if (this.#state === 'open' && this.#options.heartbeat) this.#probe();
  };

  #after(time, act) { clearTimeout(this.#timer); this.#timer = setTimeout(act, time); }
  #become(state, detail = {}) { this.#state = state; this.#options.onstate(state, detail); }
}
