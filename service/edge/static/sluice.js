/**
 * A client of sluice: topics, batches of URLs and watches over one WebSocket. For browsers and Node >= 20.
 *
 *     const client = new Sluice("http://127.0.0.1:8080");
 *     for await (const { offset, data, gap, restart } of client.subscribe("lobby", { since: "oldest" })) …
 *     for await (const event of client.fetch(["https://example.com/"])) …
 *     for await (const event of client.watch("https://example.com/", { every: 60 })) …
 *     await client.publish("lobby", { hello: "world" });
 *     client.close();
 *
 * How it works: a request stays in `#waiting` until it is answered, and is sent again on each new connection. A stream
 * knows what it had: after a cut its request is a subscription from there. The topic is the buffer: where a consumer
 * does not read, its stream leaves the topic, and comes back to the same position when the consumer reads on.
 *
 * @typedef {{epoch: string, offset: number}} Position  of the last message had
 * @typedef {{topic: string, epoch: string, offset: number, data: any}} Message  is taken as `since`, too
 * @typedef {{gap: {from: number, to: number}}} Gap  these offsets never come
 * @typedef {{restart: Position}} Restart  the position was lost with its topic: the new one follows from its oldest
 * @typedef {{state: "connecting" | "open" | "closing" | "waiting" | "closed", code?: number, reason?: string,
 *   after?: number}} State  of the connection; `waiting` for the next attempt `after` so many seconds
 */
const PROTOCOL = "sluice.v1";
const BACK_AT_ONCE = new Set([1001, 4408]); // docs/protocol.md, "Close codes"
const BACK_LATER = new Set([1013, 4429]);
const NEVER_BACK = new Set([1002, 1003, 1007, 1009, 4401]);
const LONGEST = 30; // s between two attempts
const PATIENCE = 110_000; // ms that a call may go without success; the service knows the key of a publish for 120 s
const LOOK = 15_000; // ms between two looks at a silent connection, and at batches that nobody reads
const REQUESTS = 1000; // calls that wait for an answer
const ROOM = 1 << 20; // characters that a stream holds for a consumer that does not read
const TOO_LATE = { message: "not answered in time: nobody knows", data: { reason: "timeout" } };
const TOO_LARGE = { code: -32009, message: "larger than a message may be", data: { reason: "too_large" } };

/** Why something was refused or has ended: `code` and `reason` of docs/protocol.md, or the code of a close. */
export class SluiceError extends Error {
  constructor(message, code = 0, { reason = "", temporary = false, retry_after = 1 } = {}) {
    super(message);
    Object.assign(this, { name: "SluiceError", code, reason, temporary, retryAfter: retry_after });
  }
}

/** What `subscribe`, `fetch` and `watch` return. Leaving the loop ends it, and cancels its batch. */
class Stream {
  /** @type {Position | undefined} of the last that the loop was given: `since` of the program's next run */
  position;
  had; // the position of the last that has come
  /** @type {Promise<object>} the answer to its first request: from then on the service knows of it */
  started = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
  items = [];
  size = 0;
  paused = false;
  ended = false;
  #consumers = [];

  constructor(client, method, params, show) {
    Object.assign(this, { client, method, params, show, topic: params.topic });
    this.started.catch(() => {}); // whoever loops is told
  }

  /** The request that brings what comes next. */
  request() {
    const since = this.had ?? this.params.since;
    if (this.batch) return { method: "subscribe", params: { topic: this.topic, since } };
    return { method: this.method, params: { ...this.params, since } };
  }

  begin({ topic, batch = this.batch, epoch, offset = 0 }) {
    const before = this.had ?? this.params.since;
    const had = { epoch, offset };
    Object.assign(this, { topic, batch, had, position: this.position ?? had });
    if (before?.epoch && !(before.epoch === epoch && before.offset === offset)) this.take({ restart: had });
    this.resolve({ topic, batch, epoch, offset });
  }

  message({ topic, offset, data }, size) {
    const { epoch } = this.had;
    this.had = { epoch, offset };
    this.take(this.show({ topic, epoch, offset, data }), size);
    return topic.startsWith("batch:") && data?.event === "done";
  }

  gap({ from, to }) {
    this.had = { epoch: this.had.epoch, offset: to };
    this.take({ gap: { from, to } });
  }

  take(value, size = 0) {
    const item = { value, size: size + 100, position: this.had };
    const consumer = this.#consumers.shift();
    if (consumer) return consumer.resolve(this.#give(item));
    this.items.push(item);
    this.size += item.size;
  }

  /** What has come is read before the end, and before the error. */
  end(error) {
    this.ended = true;
    this.error = this.#consumers.length ? undefined : error;
    this.reject(error ?? new SluiceError("left before it began"));
    for (const { resolve, reject } of this.#consumers.splice(0)) {
      if (error) reject(error);
      else resolve({ value: undefined, done: true });
    }
  }

  async next() {
    const item = this.items.shift();
    if (item) {
      this.size -= item.size;
      if (this.paused && this.size < ROOM / 2) this.client.resume(this);
      return this.#give(item);
    }
    if (!this.ended) return new Promise((resolve, reject) => this.#consumers.push({ resolve, reject }));
    const error = this.error;
    this.error = undefined;
    if (error) throw error;
    return { value: undefined, done: true };
  }

  #give({ value, position }) {
    this.position = position;
    return { value, done: false };
  }

  async return() {
    this.items = [];
    if (!this.ended) this.client.leave(this);
    return { value: undefined, done: true };
  }

  /** Cancel the batch and read on: what had not finished fails as `cancelled`, and `done` comes. */
  async cancel() {
    return this.client.call("cancel", { batch: (await this.started).batch });
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

export class Sluice {
  #socket = null;
  #waiting = new Map(); // requests without an answer, by id
  #routes = new Map(); // streams that this connection serves, by topic
  #streams = new Set();
  #error = null;
  #ids = 0;
  #attempt = 0;
  #retryAfter = 0;
  #silence = 0;
  #heard = false;
  #timer;

  /**
   * @param {string} url  where the service is: what a browser shows, or its `/ws`
   * @param {object} [options]
   * @param {string | (() => string)} [options.token]  sent as a subprotocol, never in a URL; a function is called for each
   *   connection, and makes the end of a token (4401) a cut like others
   * @param {typeof WebSocket} [options.WebSocket]  for Node < 22: the class of the package `ws`
   * @param {(state: State) => void} [options.onState]
   * @param {number} [options.messageSize]  bytes that the service takes as a message; larger batches are POSTed
   */
  constructor(url, { token, WebSocket = globalThis.WebSocket, onState = () => {}, messageSize = 65_536 } = {}) {
    this.url = new URL(url, globalThis.location?.href);
    this.url.protocol = this.url.protocol.replace("http", "ws");
    if (!this.url.pathname.endsWith("/ws")) this.url.pathname = this.url.pathname.replace(/\/?$/, "/ws");
    Object.assign(this, { token, WebSocket, onState, messageSize });
    this.#connect();
  }

  /**
   * Read a topic. Of each topic a client has one stream.
   * @param {string} topic
   * @param {{since?: "newest" | "oldest" | Position, onLag?: "disconnect" | "drop_oldest" | "latest"}} [options]
   * @returns {AsyncIterable<Message | Gap | Restart>}
   */
  subscribe(topic, { since, onLag } = {}) {
    return this.#open("subscribe", { topic, since: place(since), on_lag: onLag }, (message) => message);
  }

  /**
   * Watch a URL: its last known state, then each change.
   * @param {string} url
   * @param {{every: number, select?: string, onLag?: string, since?: Position}} options  `every` in seconds
   * @returns {AsyncIterable<object | Gap | Restart>}  events as in docs/protocol.md, "Watches"
   */
  watch(url, { every, select, onLag, since }) {
    return this.#open("watch", { url, every, select, on_lag: onLag, since: place(since) }, ({ data }) => data);
  }

  /**
   * Fetch URLs, or requests `{url, method, headers, body}`.
   * @param {string[] | object[]} urls
   * @param {object} [options]  as in docs/protocol.md, "Batches"
   * @returns {AsyncIterable<object>}  `result` and `failed` as they come, then `done`
   */
  fetch(urls, options = {}) {
    const params = { [typeof urls[0] === "object" ? "requests" : "urls"]: urls, options };
    return this.#open("fetch", params, ({ data }) => data);
  }

  /**
   * Publish once: what is sent again after a cut has the same key.
   * @returns {Promise<Position>}  rejected when it is refused, or after 110 s: then nobody knows
   */
  publish(topic, data, { key = unique() } = {}) {
    return this.call("publish", { topic, data, key });
  }

  /** Replace the credentials of this connection and the next. */
  async authenticate(token) {
    const answer = await this.call("authenticate", { token });
    this.token = token;
    for (const topic of answer.unsubscribed ?? []) {
      const stream = this.#routes.get(topic);
      this.#routes.delete(topic);
      if (stream) this.#finish(stream, new SluiceError("not with the new token", -32002, { reason: "forbidden" }));
    }
    return answer;
  }

  /** Make any request that may be carried out twice. Rejected with SluiceError. */
  call(method, params) {
    return new Promise((resolve, reject) => {
      if (this.#error) throw this.#error;
      if (this.#waiting.size >= REQUESTS) throw new SluiceError("too many wait", 0, { reason: "limit" });
      const answered = (error, result) => (error ? reject(error) : resolve(result));
      this.#ask({ make: () => ({ method, params }), answered, until: Date.now() + PATIENCE });
    });
  }

  /** Cut the connection, and come back after so many seconds: when the network has changed, or to try it. */
  reconnect(after = 0) {
    if (this.#error) return;
    this.#retryAfter = after;
    this.#lost({ code: 1001, reason: "cut here" });
  }

  /** End the connection and all streams. */
  close() {
    this.#end(new SluiceError("the client was closed", 0, { reason: "closed" }), null);
  }

  #open(method, params, show) {
    const stream = new Stream(this, method, params, show);
    this.#streams.add(stream);
    if (this.#error) this.#finish(stream, this.#error);
    else if (method === "fetch" && !this.#fits(JSON.stringify(params))) this.#post(stream);
    else this.#begin(stream);
    return stream;
  }

  #begin(stream) {
    stream.paused = false;
    const begun = stream.had !== undefined; // then a limit is somebody else's, and will be free again
    const answered = (error, result) => {
      if (error) return this.#finish(stream, error);
      stream.begin(result);
      if (stream.ended) this.leave(stream); // while it began
      else this.#routes.set(stream.topic, stream);
    };
    stream.asked = this.#ask({ make: () => stream.request(), answered, until: Infinity, begun });
  }

  resume(stream) {
    if (!stream.ended) this.#begin(stream);
  }

  leave(stream) {
    this.#finish(stream);
    if (!stream.topic && this.#isOpen) return; // its answer leads back here
    this.#waiting.delete(stream.asked);
    this.#depart(stream);
    if (stream.batch) this.#tell("cancel", { batch: stream.batch });
  }

  #depart(stream) {
    if (this.#routes.get(stream.topic) === stream) this.#routes.delete(stream.topic);
    this.#tell(stream.method === "watch" ? "unwatch" : "unsubscribe", { topic: stream.topic });
  }

  #finish(stream, error) {
    this.#streams.delete(stream);
    if (!stream.ended) stream.end(error);
  }

  #ask(request) {
    this.#waiting.set(++this.#ids, request);
    this.#send(this.#ids);
    return this.#ids;
  }

  #send(id) {
    const request = this.#waiting.get(id);
    if (request && Date.now() > request.until) return this.#answer({ id, error: TOO_LATE });
    if (!request || !this.#isOpen || request.socket === this.#socket) return;
    const text = encode({ id, ...request.make() });
    request.socket = this.#socket;
    if (this.#fits(text)) this.#socket.send(text);
    else this.#answer({ id, error: TOO_LARGE });
  }

  #sendAll() {
    for (const id of [...this.#waiting.keys()]) this.#send(id);
  }

  /** Say what needs no answer, and not on another connection either. */
  #tell(method, params) {
    if (this.#isOpen) this.#socket.send(encode({ method, params }));
  }

  get #isOpen() {
    return this.#socket?.readyState === 1;
  }

  #fits(text) {
    return text.length * 3 < this.messageSize || new TextEncoder().encode(text).length < this.messageSize;
  }

  get #bearer() {
    return typeof this.token === "function" ? this.token() : this.token;
  }

  #connect() {
    this.onState({ state: "connecting" });
    let socket;
    try {
      const token = this.#bearer;
      socket = new this.WebSocket(this.url, token ? [PROTOCOL, `bearer.${token}`] : [PROTOCOL]);
    } catch (error) {
      return this.#end(new SluiceError(error.message)); // a token that no header can carry, a URL that is none
    }
    this.#socket = socket;
    socket.onopen = () => {
      this.#timer = setInterval(() => this.#look(), LOOK);
      this.onState({ state: "open" });
      this.#sendAll();
    };
    socket.onmessage = ({ data }) => {
      this.#heard = true;
      this.#silence = 0;
      this.#receive(JSON.parse(data), data.length);
    };
    socket.onclose = (event) => this.#lost(event);
    socket.onerror = () => {}; // a close follows
  }

  #receive({ id, result, error, method, params = {} }, size) {
    if (id !== undefined) return this.#answer({ id, result, error });
    const stream = this.#routes.get(params.topic);
    if (method === "gap") stream?.gap(params);
    if (method === "closing") {
      this.#retryAfter = params.retry_after ?? 0;
      this.onState({ state: "closing", reason: params.reason });
    }
    if (method !== "message" || !stream) return;
    if (stream.message(params, size)) this.#finish(stream);
    else if (stream.size > ROOM) {
      stream.paused = true;
      this.#depart(stream);
    }
  }

  #answer({ id, result, error }) {
    const request = this.#waiting.get(id);
    if (!request) return;
    const refusal = error && new SluiceError(error.message, error.code, error.data);
    const passes = refusal?.temporary && (refusal.reason !== "limit" || request.begun);
    if (passes && Date.now() < request.until) {
      request.socket = undefined;
      setTimeout(() => this.#send(id), refusal.retryAfter * 1000 * (1 + Math.random()));
    } else {
      this.#waiting.delete(id);
      request.answered(refusal, result);
    }
  }

  /** The batch of a stream that is not read would be cancelled after 60 s without a reader. */
  #look() {
    this.#silence += 1;
    if (this.#silence > 2) return this.#lost({ code: 1006, reason: "silence" });
    if (this.#silence > 1) this.#socket.send(encode({ id: 0, method: "ping" }));
    for (const { paused, batch, topic, had } of this.#streams) {
      if (!paused || !batch) continue;
      const both = [["subscribe", { topic, since: had }], ["unsubscribe", { topic }]];
      this.#socket.send(`[${both.map(([method, params]) => encode({ method, params }))}]`);
    }
  }

  #drop() {
    clearTimeout(this.#timer);
    const socket = this.#socket ?? {};
    this.#socket = socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close?.();
  }

  #lost({ code, reason }) {
    this.#drop();
    const renewed = code === 4401 && this.#heard && typeof this.token === "function";
    if (NEVER_BACK.has(code) && !renewed) return this.#end(new SluiceError(reason || `closed with ${code}`, code));
    const streams = [...this.#routes.values()];
    this.#routes.clear();
    for (const stream of streams) this.#begin(stream);
    this.#sendAll(); // nothing is sent now; what has waited for too long is told so
    const served = BACK_AT_ONCE.has(code) || (this.#heard && !BACK_LATER.has(code));
    this.#attempt = served ? 0 : this.#attempt + 1;
    this.#heard = false;
    const after = this.#retryAfter + Math.random() * Math.min(LONGEST, 0.5 * 2 ** this.#attempt);
    this.#retryAfter = this.#silence = 0;
    this.#timer = setTimeout(() => this.#connect(), after * 1000);
    this.onState({ state: "waiting", code, reason, after });
  }

  #end(error, told = error) {
    if (this.#error) return;
    this.#error = error;
    this.#drop();
    for (const stream of [...this.#streams]) this.#finish(stream, told);
    for (const { answered } of this.#waiting.values()) answered(error);
    this.#waiting.clear();
    this.onState({ state: "closed", code: error.code, reason: error.message });
  }

  /** Begin a batch that is larger than a message: it runs to its end, and is read like any other. */
  async #post(stream) {
    const url = new URL("fetch-batch", this.url.href.replace(/^ws/, "http"));
    const headers = { "Content-Type": "application/json", "Idempotency-Key": unique(), Prefer: "respond-async" };
    while (!stream.ended) {
      const token = this.#bearer;
      if (token) headers.Authorization = `Bearer ${token}`;
      let refusal;
      try {
        const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(stream.params) });
        const document = await answer.json();
        if (answer.ok) {
          stream.begin(document);
          return stream.ended ? this.leave(stream) : this.#begin(stream);
        }
        refusal = new SluiceError(document.detail, answer.status, document);
      } catch (error) {
        refusal = new SluiceError(error.message, 0, { temporary: true });
      }
      if (!refusal.temporary) return this.#finish(stream, refusal);
      await new Promise((wake) => setTimeout(wake, refusal.retryAfter * 1000 * (1 + Math.random())));
    }
  }
}

const encode = (value) => JSON.stringify({ jsonrpc: "2.0", ...value });
const place = (since) => (since?.epoch ? { epoch: since.epoch, offset: since.offset } : since);
const unique = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(36)).join("");
