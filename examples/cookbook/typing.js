// Users that are typing: said at most once a second, and forgotten when nothing more is heard.
export class Typing {
  #said = -Infinity; #people = new Map();

  /** `say()` sends "is typing"; `show(names)` is called when that changes. */
  constructor(say, show, { every = 1000, expire = 3000 } = {}) {
    Object.assign(this, { say, show, every, expire });
  }

  /** For the `input` event of the text field. */
  input() {
    const now = performance.now();
    if (now - this.#said < this.every) return;
    this.#said = now;
    this.say();
  }

  /** A user is typing. `expire` is longer than `every`, and than a message may be late. */
  heard(name) {
    const known = this.#people.has(name);
    clearTimeout(this.#people.get(name));
    this.#people.set(name, setTimeout(() => this.stopped(name), this.expire));
    if (!known) this.show([...this.#people.keys()]);
  }

  /** What they have written has come, or they have left. */
  stopped(name) {
    clearTimeout(this.#people.get(name));
    if (this.#people.delete(name)) this.show([...this.#people.keys()]);
  }
}
