// A clock that the tests move, and sockets that they hold: timers are counted, and none may be left at the end.
const timers = new Map();
let now = 1_700_000_000_000;
let ids = 0;

export const turn = () => new Promise((resolve) => setImmediate(resolve));
export const time = () => now;
export const timersLeft = () => timers.size;

export function install() {
  Date.now = () => now;
  performance.now = () => now - 1_700_000_000_000;
  globalThis.setTimeout = (then, ms = 0) => {
    const id = ++ids;
    timers.set(id, { then, at: now + Math.max(0, ms) });
    return { id, unref() {} };
  };
  globalThis.clearTimeout = (timer) => timers.delete(timer?.id);
}

/** Let so many seconds pass, from timer to timer. */
export async function pass(seconds) {
  const end = now + seconds * 1000;
  await turn();
  while (true) {
    let next;
    for (const [id, { at }] of timers) if (at <= end && !(timers.get(next)?.at <= at)) next = id;
    if (next === undefined) break;
    const { then, at } = timers.get(next);
    timers.delete(next);
    now = Math.max(now, at);
    then();
    await turn();
  }
  now = end;
}

/** Wait for something, and let time pass until it is so. */
export async function until(is, seconds = 100, step = 0.05) {
  for (let waited = 0; waited <= seconds; waited += step) {
    await turn();
    const found = is();
    if (found) return found;
    await pass(step);
  }
  throw new Error(`nothing came within ${seconds} s`);
}

export class Socket {
  static all = [];
  static mute = false; // whether pings are left without an answer
  readyState = 0;
  sent = [];

  constructor(url, protocols) {
    Object.assign(this, { url: String(url), protocols });
    Socket.all.push(this);
  }

  get token() {
    return this.protocols.find((one) => one.startsWith("bearer."))?.slice("bearer.".length);
  }

  send(text) {
    const request = JSON.parse(text);
    if (this.readyState !== 1) return;
    if (request.method !== "ping") this.sent.push(request);
    else if (!Socket.mute) setImmediate(() => this.say({ id: request.id, result: {} }));
  }

  close() {
    this.readyState = 3;
  }

  open() {
    this.readyState = 1;
    this.onopen?.();
  }

  say(value) {
    if (this.readyState === 1) this.onmessage?.({ data: typeof value === "string" ? value : JSON.stringify({ jsonrpc: "2.0", ...value }) });
  }

  /** As WebSockets end: an error where something went wrong, then a close, of which some send only the first. */
  end(code, reason = "", { error = false, close = true } = {}) {
    this.readyState = 3;
    if (error) this.onerror?.({ message: reason });
    if (close) this.onclose?.({ code, reason });
  }
}
