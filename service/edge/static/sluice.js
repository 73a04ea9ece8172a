/**
 * A client of sluice: topics, batches of URLs, watches and jobs over one WebSocket. For browsers and Node >= 20.
 *
 *     const client = new Sluice("http://127.0.0.1:8080");
 *     for await (const { offset, data, gap, restart } of client.subscribe("lobby", { since: "oldest" })) …
 *     for await (const event of client.fetch(["https://example.com/"])) …
 *     for await (const event of client.watch("https://example.com/", { every: 60 })) …
 *     await client.publish("lobby", { hello: "world" });
 *     const result = await (await client.job({ run: { name: "transcode" } })).result();
 *     client.close();
 *
 * How it works: docs/clients.md has the table of states. A call is encoded when it is made, and asked again over each new
 * connection until it is answered. A stream knows what it had, and goes on from there. The streams of one topic share a
 * subscription, a `Feed`. The topic is the buffer: where a consumer does not read, its stream leaves the topic, and comes
 * back to the same position when the consumer reads on.
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
const NEVER_BACK = new Set([1002, 1003, 1007, 1009, 4401, 4403]);
const BACKOFF = { first: 0.5, most: 30, steady: 10 }; // s: the first wait, the longest, and after which a connection is good
const ATTEMPT = 10_000; // ms for an attempt to connect, and for a function that returns a token
const POST = 60_000; // ms for a batch to be sent and accepted
const HEEDED = 600; // s of a `retry_after`
const PATIENCE = 110_000; // ms that a call may go without success; the service knows the key of a publish for 120 s
const KEEP = 86_400; // s for which a job is kept after its end where it does not say otherwise: so long its key is known
const MARGIN = 10; // s that a repeated request has to arrive in before its key may be forgotten
const LAST = { batch: ["done"], job: ["done", "failed", "cancelled"] }; // the events that end streams, by their topic's name
const TRIES = 10; // connections that may end before they answer a request: it may be what ends them
const LOOK = 15_000; // ms between two looks at a silent connection, and at batches that nobody reads
const SOON = 1_000; // ms until the next renewal of a token below which the delay of one that failed counts
const SIGN = 5_000; // ms for a sign of life where the network or the page has come back
const REQUESTS = 1000; // calls that wait for an answer
const ROOM = 1 << 20; // characters that a stream holds for a consumer that does not read
const DEPTH = 254; // arrays and objects inside each other, which the service takes
const TIMER = 2 ** 31 - 1; // ms: a longer timer would fire at once
const LIKE_JSON = new Set(["Object", "Array", "String", "Boolean", "Arguments", "Module"]); // of others, like a Map, JSON.stringify makes {}
const CUT = Symbol("the connection ended before the answer came");

/** Why something was refused or has ended: `code` and `reason` of docs/protocol.md, or the code of a close. */
export class SluiceError extends Error {
  constructor(message, code = 0, { reason = "", temporary = false, retry_after, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    Object.assign(this, { name: "SluiceError", code, reason, temporary, retryAfter: seconds(retry_after) || 1 });
  }
}

/** A job whose result was asked for has failed, or was cancelled: `error`, `detail` and `attempts` say how it ended. */
export class JobError extends SluiceError {
  constructor({ event, error = "cancelled", detail = "the job was cancelled", attempts }) {
    super(`${error}: ${detail}`, 0, { reason: event });
    Object.assign(this, { name: "JobError", error, detail, attempts });
  }
}

const invalid = (message, cause) => new SluiceError(message, -32602, { reason: "invalid_params", cause });
const tooLate = () => new SluiceError("not answered in time: nobody knows", 0, { reason: "timeout" });
const tooLarge = () => new SluiceError("larger than a message may be", -32009, { reason: "too_large" });
const unanswered = () => new SluiceError("the answer was lost, and the key is too old by now to ask again", 0, { reason: "unanswered" });
const tooOften = () =>
  new SluiceError(`${TRIES} connections ended before this was answered: it may be what ends them`, 0, { reason: "unanswered" });

/** What `subscribe`, `fetch` and `watch` return. Leaving the loop ends it, and cancels its batch. It has one loop. */
class Stream {
  /** @type {Position | undefined} of the last that the loop was given: `since` of the program's next run */
  position;
  had; // the position of the last that has come
  /** @type {Promise<object>} the answer to its first request: from then on the service knows of it */
  started = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
  items = [];
  size = 0;
  ended = false;
  done = false; // the batch is
  posting = false; // the batch has to be POSTed first
  tries = 0;
  #last = []; // the events that end it
  #earlier; // up to which offset all is of earlier runs of a job, and ends nothing
  #consumers = [];
  #looped = false;

  constructor(link, method, params, show) {
    Object.assign(this, { link, method, params, show, topic: params.topic });
    this.started.catch(() => {}); // the loop over the stream raises it
  }

  /** What streams have in common that share one subscription. */
  get key() {
    if (this.method === "watch") return JSON.stringify([this.params.url, this.params.select]);
    return this.topic ?? this;
  }

  get full() {
    return this.size > ROOM;
  }

  /** The request that brings what comes next, or what comes after the position of another stream. */
  request(since = this.had ?? this.params.since) {
    if (this.method === "fetch" && this.topic) return ["subscribe", { topic: this.topic, since: since ?? "oldest" }];
    return [this.method, { ...this.params, since }];
  }

  /** Take the answer to a request, which `asked` for the place of another stream if that is given. */
  begin({ topic, batch = this.batch, epoch, offset = 0, earlier = 0 }, asked) {
    Object.assign(this, { topic, batch });
    this.#last = LAST[topic.split(":", 1)[0]] ?? [];
    this.#earlier ??= earlier;
    const before = this.had ?? (this.params.since?.epoch ? this.params.since : undefined);
    const start = { epoch, offset };
    if (this.had?.epoch === epoch && asked && !same(asked, this.had) && (asked.epoch !== epoch || same(asked, start))) return;
    this.had = start;
    this.position ??= start;
    if (before && !same(before, start)) this.take({ restart: start });
    this.resolve({ topic, batch, epoch, offset });
  }

  /** @returns {boolean} whether that was the last */
  message(offset, data, size) {
    const { epoch, offset: before } = this.had;
    if (!(offset > before)) return false; // it was delivered before
    if (offset > before + 1) this.gap(offset - 1);
    this.had = { epoch, offset };
    this.take(this.show({ topic: this.topic, epoch, offset, data }), size);
    this.done = offset > this.#earlier && this.#last.includes(data?.event);
    return this.done;
  }

  /** Nothing comes up to this offset: of what a gap says, only its end is news. */
  gap(to) {
    const { epoch, offset } = this.had;
    if (!(to > offset)) return;
    this.had = { epoch, offset: to };
    this.take({ gap: { from: offset + 1, to } });
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
      const behind = this.size >= ROOM / 2;
      this.size -= item.size;
      if (behind && this.size < ROOM / 2) this.link.resume(this);
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
    this.size = 0;
    this.error = undefined;
    if (!this.ended) this.link.leave(this);
    return { value: undefined, done: true };
  }

  /** Cancel the batch and read on: what had not finished fails as `cancelled`, and `done` comes. */
  async cancel() {
    return this.link.cancel((await this.started).batch);
  }

  [Symbol.asyncIterator]() {
    if (this.#looped && !this.ended) throw new SluiceError("this stream has a loop already: ask the client for another one");
    this.#looped = true;
    return this;
  }
}

/**
 * A job that was made, or is followed. Each loop over it begins with its first event, and ends after the last one of the
 * run that is under way when it begins; leaving a loop cancels nothing.
 */
class Job {
  #link;

  constructor(link, { job, state, due }) {
    Object.assign(this, { id: job, topic: `job:${job}`, state, due });
    this.#link = link;
  }

  [Symbol.asyncIterator]() {
    return this.#link.follow(this.topic, ({ data }) => this.#take(data));
  }

  /** Wait for its end. Rejected with JobError where it failed or was cancelled. */
  async result() {
    let last;
    for await (const event of this) last = event;
    if (last?.event === "done") return last.result;
    if (LAST.job.includes(last?.event)) throw new JobError(last);
    throw this.#link.error() ?? new SluiceError("how the job has ended is not kept any more", -32004, { reason: "not_found" });
  }

  /** Have it never run, or stop; whether it is cancelled: an ended one stays as it is. */
  async cancel() {
    const { cancelled, state } = await this.#link.call("cancel", { job: this.id });
    this.state = state;
    return cancelled || state === "cancelled"; // a repetition, after a cut, finds it cancelled by the first request
  }

  #take(event) {
    if (event?.event === "queued" || event?.event === "rescheduled") Object.assign(this, { state: "scheduled", due: event.due });
    else if (event?.event === "retry") Object.assign(this, { state: "scheduled", due: event.at });
    else if (event?.event === "started") this.state = "running";
    else if (LAST.job.includes(event?.event)) this.state = event.event;
    return event;
  }
}

/**
 * One subscription of a connection, and the streams that it fills. A stream is joining until a subscription was answered
 * that serves its place, and live from then on; one without room is parked. A stream that has begun is served from any
 * place before its own, since it passes over what it had: a subscription is asked for from the earliest place of all. One
 * that has no place yet is asked for as it wants, and streams that are before the place that it is given join once more.
 */
class Feed {
  live = new Set();
  parked = new Set();
  #joining = new Set();
  #epoch;
  #subscribed = false;
  #asking = false;
  #resting = false;

  constructor(wire, stream) {
    Object.assign(this, { wire, key: stream.key, topic: stream.topic, watching: stream.method === "watch" });
  }

  add(stream) {
    this.parked.delete(stream);
    (stream.full ? this.parked : this.#joining).add(stream);
  }

  remove(stream) {
    for (const group of [this.live, this.#joining, this.parked]) group.delete(stream);
    this.#settle();
    if (stream.method === "fetch" && stream.topic && !stream.done) this.wire.cancel(stream);
  }

  message({ offset, data }, size) {
    expect("offset, data", Number.isSafeInteger(offset) && data !== undefined);
    for (const stream of this.live) {
      if (stream.message(offset, data, size)) {
        this.live.delete(stream);
        if (this.topic.startsWith("batch:")) this.#subscribed = false; // the service has ended it; a job may go on with another run
        this.wire.finish(stream);
      } else if (stream.full) {
        this.live.delete(stream);
        this.parked.add(stream);
      }
    }
    if (!this.live.size) this.#settle();
  }

  gap({ from, to }) {
    expect("from, to", Number.isSafeInteger(from) && Number.isSafeInteger(to));
    for (const stream of this.live) stream.gap(to);
  }

  end(error) {
    const streams = [...this.live, ...this.#joining, ...this.parked];
    for (const group of [this.live, this.#joining, this.parked]) group.clear();
    this.#subscribed = false;
    for (const stream of streams) this.wire.finish(stream, error);
    this.#settle();
  }

  /** Whether it is of a batch that would be cancelled for lack of a reader. */
  get forgotten() {
    return !this.live.size && [...this.parked].some(({ batch, done }) => batch && !done);
  }

  #settle() {
    if (this.live.size || this.#joining.size || this.#asking) return;
    this.#unsubscribe();
    if (!this.parked.size) this.wire.drop(this);
  }

  #unsubscribe() {
    if (this.#subscribed) this.wire.notify(this.watching ? "unwatch" : "unsubscribe", { topic: this.topic });
    this.#subscribed = false;
  }

  goOn() {
    if (this.#asking || this.#resting || !this.#joining.size) return;
    if (this.wire.closing && this.live.size) return; // a service that goes away refuses: those who are served stay
    this.#asking = true;
    const fresh = [...this.#joining].find(({ had }) => !had);
    const first = fresh ?? this.#earliest();
    const asked = fresh ? undefined : first.had;
    this.#unsubscribe();
    this.wire.ask(...this.#request(first, asked), (error, result) => this.#answered(error, result, fresh, asked));
  }

  /** The stream whose place has to be asked for: one of another epoch is served by no place of this. */
  #earliest() {
    const streams = [...this.#joining, ...this.live];
    const epoch = this.#epoch ?? streams[0].had.epoch;
    const rank = ({ had }) => (had.epoch === epoch ? had.offset : -1);
    return streams.reduce((first, stream) => (rank(stream) < rank(first) ? stream : first));
  }

  /** A stream's request with what all want: the eldest's `on_lag`, the shortest `every`. */
  #request(stream, since) {
    const [method, params] = stream.request(since);
    const streams = [...this.live, ...this.#joining];
    if (method === "watch") params.every = Math.min(...streams.map((one) => one.params.every));
    if (method !== "fetch") params.on_lag = streams[0].params.on_lag;
    return [method, params];
  }

  #answered(error, result, fresh, asked) {
    this.#asking = false;
    if (error === CUT) {
      if (fresh && ++fresh.tries >= TRIES) this.wire.finish(fresh, tooOften());
      return;
    }
    if (error) return this.#refused(error, fresh);
    const { topic, epoch, offset = 0 } = result;
    const right = typeof topic === "string" && typeof epoch === "string" && epoch && Number.isSafeInteger(offset) && offset >= 0;
    if (!right && fresh && ++fresh.tries >= TRIES) this.wire.finish(fresh, tooOften());
    expect("topic, epoch, offset", right);
    this.#subscribed = true;
    this.topic = topic;
    this.#epoch = result.epoch;
    this.wire.route(this);
    if (fresh) this.#begin(fresh, result);
    else this.#resume(result, asked);
    this.goOn();
    this.#settle();
  }

  #begin(fresh, result) {
    if (this.#joining.delete(fresh)) {
      this.#start(fresh, result);
    } else {
      Object.assign(fresh, { topic: result.topic, batch: result.batch });
      this.remove(fresh); // it left meanwhile
    }
    for (const stream of this.live) {
      if (stream.had.epoch === result.epoch && stream.had.offset >= (result.offset ?? 0)) continue;
      this.live.delete(stream);
      this.#joining.add(stream);
    }
  }

  #resume(result, asked) {
    const { epoch, offset = 0 } = result;
    for (const stream of [...this.live, ...this.#joining]) {
      // One that came later may be before the place that was asked for: it is asked for next.
      const served = asked.epoch !== epoch || (stream.had?.epoch === epoch && stream.had.offset >= asked.offset);
      if (!stream.had || !served) continue;
      this.#joining.delete(stream);
      this.#start(stream, result, asked);
      stream.gap(offset);
    }
  }

  /** Have a stream served from an answer on, unless nothing follows that. */
  #start(stream, result, asked) {
    stream.begin(result, asked);
    if (result.ended !== true) return this.live.add(stream);
    this.live.delete(stream);
    this.wire.finish(stream);
  }

  #refused(error, fresh) {
    if (error.reason === "draining") {
      this.#resting = true; // and the next connection begins anew
    } else if (error.temporary && (!fresh || error.reason !== "limit")) {
      this.#resting = true;
      this.wire.later(error.retryAfter, () => {
        this.#resting = false;
        this.goOn();
      });
    } else if (!fresh) {
      this.end(error);
    } else {
      this.#joining.delete(fresh);
      this.wire.finish(fresh, error);
      for (const stream of this.live) this.#joining.add(stream); // they lost their subscription to this try
      this.live.clear();
      this.goOn();
      this.#settle();
    }
  }
}

/** Which token is shown: the newest one wins, and a function stays. */
class Credentials {
  expires; // in seconds of the Unix epoch, where that is known
  #source;
  #fixed;
  #candidate; // what `authenticate` was given, until the service has taken or refused it
  #shown;

  constructor(token) {
    if (typeof token === "function") this.#source = token;
    else this.#fixed = checkedToken(token);
  }

  get renewable() {
    return Boolean(this.#source);
  }

  current() {
    return this.#candidate ?? this.#fixed ?? this.ask();
  }

  ask() {
    return this.#source?.();
  }

  show(token) {
    this.#shown = token;
    this.expires = expiry(token);
  }

  propose(token) {
    this.#candidate = token;
  }

  confirm(token, expires) {
    this.#shown = token;
    this.expires = moment(expires);
    if (this.#candidate !== undefined && this.#candidate !== token) return;
    this.#fixed = token;
    this.#candidate = undefined;
  }

  renewed(token, expires) {
    this.#shown = token;
    this.expires = moment(expires);
    this.#fixed = undefined;
  }

  withdraw(token) {
    if (this.#candidate === token) this.#candidate = undefined;
  }

  /** The shown token was refused or has ended: is there another? */
  refused() {
    const shown = this.#shown;
    this.#shown = this.expires = undefined;
    if (this.#candidate !== undefined && this.#candidate === shown) {
      this.#candidate = undefined;
      return this.renewable || Boolean(this.#fixed);
    }
    if (this.renewable) {
      if (this.#fixed === shown) this.#fixed = undefined;
      return true;
    }
    const newest = this.#candidate ?? this.#fixed;
    return Boolean(newest) && newest !== shown;
  }

  /** In how many ms the function has to be asked. */
  renewIn() {
    if (!this.expires || !this.renewable) return undefined;
    const left = Math.max(0, this.expires * 1000 - Date.now());
    return left - Math.min(30_000, left / 2);
  }
}

export class Sluice {
  #socket = null;
  #opened; // when the connection was, in ms
  #calls = new Set(); // without an answer, over any number of connections
  #pending = new Map(); // what waits for an answer of this connection, by id, in the order of asking
  #feeds = new Map(); // of this connection
  #routes = new Map(); // feeds by topic
  #streams = new Set();
  #timers = new Set(); // of this connection, or of the wait for the next
  #stops = new Set(); // what ends the POSTs under way
  #error = null;
  #ids = 0;
  #failures = 0;
  #retryAfter = 0;
  #silence = 0;
  #renewal; // the timer for another token
  #credentials;
  #wire = {
    closing: false,
    ask: (method, params, answered) => this.#ask(method, JSON.stringify(params), answered),
    notify: (method, params) => this.#notify(method, params),
    route: (feed) => this.#routes.set(feed.topic, feed),
    drop: (feed) => {
      if (this.#feeds.get(feed.key) === feed) this.#feeds.delete(feed.key);
      if (this.#routes.get(feed.topic) === feed) this.#routes.delete(feed.topic);
    },
    later: (after, then) => this.#after(after * 1000 * (1 + Math.random()), then),
    cancel: (stream) => this.#notify("cancel", { batch: stream.topic.slice("batch:".length) }),
    finish: (stream, error) => this.#finish(stream, error),
  };
  #link = {
    resume: (stream) => {
      const feed = this.#feed(stream);
      if (!feed?.parked.has(stream)) return;
      feed.add(stream);
      feed.goOn();
    },
    leave: (stream) => this.#leave(stream),
    cancel: (batch) => this.call("cancel", { batch }),
    call: (method, params) => this.call(method, params),
    follow: (topic, show) => this.#open("subscribe", () => ({ topic }), "oldest", show),
    error: () => this.#error,
  };
  #networkEvents = [
    [globalThis, "online", () => this.#check()],
    [globalThis, "pageshow", ({ persisted }) => persisted && this.#check()],
    [globalThis.document, "resume", () => this.#check()],
  ];

  /**
   * @param {string} url  where the service is: what a browser shows, or its `/ws`
   * @param {object} [options]
   * @param {string | (() => string | Promise<string>)} [options.token]  sent as a subprotocol, never in a URL; a function is
   *   called for each connection, before its token ends, and where one is refused
   * @param {typeof WebSocket} [options.WebSocket]  for Node < 22: the class of the package `ws`
   * @param {(state: State) => void} [options.onState]
   * @param {number} [options.messageSize]  bytes that the service takes as a message; larger batches are POSTed
   * @param {{first?: number, most?: number, steady?: number}} [options.backoff]  seconds: a wait is random up to `first`,
   *   and up to twice as long after each connection that did not last `steady`, until it is `most`
   */
  constructor(url, { token, WebSocket = globalThis.WebSocket, onState = () => {}, messageSize = 65_536, backoff } = {}) {
    if (typeof WebSocket !== "function") throw new TypeError("there is no WebSocket here: give the option WebSocket, for example the package ws");
    this.url = address(url);
    this.#credentials = new Credentials(token);
    Object.assign(this, { WebSocket, onState, messageSize, backoff: { ...BACKOFF, ...backoff } });
    for (const [target, name, listener] of this.#networkEvents) target?.addEventListener?.(name, listener);
    this.#connect();
  }

  /**
   * Read a topic. Streams of one topic share a subscription; each has its own position.
   * @param {string} topic
   * @param {{since?: "newest" | "oldest" | Position | string, onLag?: "disconnect" | "drop_oldest" | "latest"}} [options]
   * @returns {AsyncIterable<Message | Gap | Restart>}
   */
  subscribe(topic, { since, onLag } = {}) {
    return this.#open("subscribe", () => ({ topic: text("topic", topic), on_lag: onLag }), since, (message) => message);
  }

  /**
   * Watch a URL: its last known state, then each change.
   * @param {string} url
   * @param {{every: number, select?: string, onLag?: string, since?: Position | string}} options  `every` in seconds
   * @returns {AsyncIterable<object | Gap | Restart>}  events as in docs/protocol.md, "Watches"
   */
  watch(url, { every, select, steps, onLag, since } = {}) {
    const params = () => ({ url: text("url", String(url)), every, select, steps, on_lag: onLag });
    return this.#open("watch", params, since, ({ data }) => data);
  }

  /**
   * Fetch URLs, or requests `{url, method, headers, body}`.
   * @param {Iterable<string | URL | object>} urls
   * @param {object} [options]  as in docs/protocol.md, "Batches"
   * @returns {AsyncIterable<object>}  `result` and `failed` as they come, then `done`
   */
  fetch(urls, options = {}) {
    return this.#open("fetch", () => batch(urls, options), undefined, ({ data }) => data);
  }

  /**
   * Publish once: what is sent again after a cut has the same key.
   * @returns {Promise<Position>}  rejected when it is refused, or after 110 s: then nobody knows
   */
  async publish(topic, data, { key } = {}) {
    return this.#call("publish", `{"topic":${json(text("topic", topic))},"data":${json(data)},"key":${json(key ?? unique())}}`);
  }

  /**
   * Have work done, now or later: `call`, `publish`, `fetch` or `run`, as docs/jobs.md has them. What is sent again after a
   * cut has the same key, so that it is one job.
   * @param {object} request
   * @returns {Promise<Job>}  resolved when the service keeps it
   */
  async job(request) {
    const { keep = KEEP } = request;
    return new Job(this.#link, await this.#call("job", json({ ...request, key: request.key ?? unique() }), (keep - MARGIN) * 1000));
  }

  /** A job by its id, to iterate over its events, wait for its result, or cancel it. */
  followJob(id) {
    return new Job(this.#link, { job: text("id", id) });
  }

  /** Replace the credentials, now and for later connections; where they are refused, the ones before stay. */
  async authenticate(token) {
    const params = json({ token: text("token", token) });
    this.#credentials.propose(token);
    let answer;
    try {
      answer = await this.#call("authenticate", params);
    } catch (error) {
      this.#credentials.withdraw(token);
      throw error;
    }
    this.#credentials.confirm(token, answer.expires);
    this.#authenticated(answer);
    return answer;
  }

  /** Make any request that may be carried out twice. Rejected with SluiceError. */
  async call(method, params) {
    return this.#call(text("method", method), params === undefined ? undefined : json(params));
  }

  /** Cut the connection and connect again after this many seconds: when the network has changed, or to try that out. */
  reconnect(after = 0) {
    if (this.#error) return;
    this.#retryAfter = seconds(after) ?? 0;
    this.#failures = 0;
    this.#lost({ code: 1001, reason: "cut here" });
  }

  /** End the connection, all calls, and all streams. */
  close() {
    this.#end(new SluiceError("the client was closed", 0, { reason: "closed" }), null);
  }

  // Streams.

  #open(method, make, since, show) {
    let params = {};
    let wrong;
    try {
      params = JSON.parse(json({ ...make(), since: place(since) })); // a copy that nobody changes afterwards
    } catch (error) {
      wrong = error instanceof SluiceError ? error : invalid(why(error), error);
    }
    const stream = new Stream(this.#link, method, params, show);
    this.#streams.add(stream);
    const fits = wrong || this.#fits(JSON.stringify(params));
    if (!fits && method !== "fetch") wrong = tooLarge();
    if (wrong ?? this.#error) this.#finish(stream, wrong ?? this.#error);
    else if (!fits) this.#post(stream);
    else this.#serve([stream]);
    return stream;
  }

  /** Begin streams, or go on with them where they are. */
  #serve(streams) {
    const feeds = new Set();
    for (const stream of streams) {
      if (!this.#isOpen || stream.posting) continue;
      let feed = this.#feed(stream);
      if (!feed) this.#feeds.set(stream.key, (feed = new Feed(this.#wire, stream)));
      feed.add(stream);
      feeds.add(feed);
    }
    for (const feed of feeds) feed.goOn();
  }

  #feed(stream) {
    const found = this.#routes.get(stream.topic);
    if (found && found.watching === (stream.method === "watch")) return found;
    return this.#feeds.get(stream.key) ?? this.#feeds.get(stream);
  }

  #leave(stream) {
    this.#finish(stream);
    const feed = this.#feed(stream);
    if (feed) feed.remove(stream);
    else if (stream.method === "fetch" && stream.topic) this.#wire.cancel(stream);
  }

  #finish(stream, error) {
    this.#streams.delete(stream);
    if (!stream.ended) stream.end(error ?? undefined);
  }

  // Requests.

  #call(method, params, repeatable = Infinity) {
    return new Promise((resolve, reject) => {
      if (this.#error) throw this.#error;
      if (this.#calls.size >= REQUESTS) throw new SluiceError("too many wait", 0, { reason: "limit" });
      if (!this.#fits(`${method}${params}`)) throw tooLarge();
      const settle = (then, value) => {
        clearTimeout(call.timer);
        this.#calls.delete(call);
        then(value);
      };
      const until = performance.now() + repeatable; // when it may be sent for the last time after a cut
      const call = { method, params, until, tries: 0, resolve: (value) => settle(resolve, value), reject: (error) => settle(reject, error) };
      call.timer = setTimeout(() => call.reject(call.refusal ?? tooLate()), PATIENCE);
      this.#calls.add(call);
      this.#send(call);
    });
  }

  #send(call) {
    if (!this.#isOpen || !this.#calls.has(call)) return;
    if (call.tries && performance.now() > call.until) return call.reject(unanswered());
    this.#ask(call.method, call.params, (error, result) => {
      if (error === CUT) {
        if (++call.tries >= TRIES) call.reject(tooOften());
      } else if (error?.temporary && error.reason !== "limit") {
        call.refusal = error;
        this.#after(error.retryAfter * 1000 * (1 + Math.random()), () => this.#send(call));
      } else if (error) call.reject(error);
      else call.resolve(result);
    });
  }

  /** Ask over this connection; `answered` gets the outcome of it, CUT where that is its end. */
  #ask(method, params, answered) {
    const id = ++this.#ids;
    this.#pending.set(id, answered);
    this.#socket.send(`{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)}${params ? `,"params":${params}` : ""}}`);
  }

  /** Send a request without an id; it is dropped where there is no connection, also later. */
  #notify(method, params) {
    if (this.#isOpen) this.#socket.send(JSON.stringify({ jsonrpc: "2.0", method, params }));
  }

  get #isOpen() {
    return this.#opened !== undefined && this.#socket?.readyState === 1;
  }

  #fits(text) {
    const size = this.messageSize - 100; // beside the parameters
    return text.length * 3 < size || new TextEncoder().encode(text).length < size;
  }

  // The connection: connecting, open, waiting, and connecting again, until it is closed.

  #connect() {
    const attempt = (this.#socket = {}); // until there is one
    this.#state({ state: "connecting" });
    if (this.#socket !== attempt) return; // ended in there
    this.#after(ATTEMPT, () => this.#lost({ code: 1006, reason: "no answer in time" }));
    const failed = (error) => this.#socket === attempt && this.#lost({ code: 1006, reason: `the token function failed: ${why(error)}` });
    const go = (token) => this.#socket === attempt && this.#dial(token);
    try {
      const token = this.#credentials.current();
      if (typeof token?.then === "function") token.then(checkedToken).then(go, failed);
      else go(checkedToken(token));
    } catch (error) {
      failed(error);
    }
  }

  #dial(token) {
    let socket;
    this.#credentials.show(token);
    try {
      socket = new this.WebSocket(this.url, token ? [PROTOCOL, `bearer.${token}`] : [PROTOCOL]);
    } catch (error) {
      // A token that no header can carry.
      return this.#credentials.refused() ? this.#lost({ code: 1006, reason: why(error) }) : this.#end(new SluiceError(why(error)));
    }
    const current = (then) => (event) => this.#socket === socket && then(event);
    this.#socket = socket;
    socket.onopen = current(() => this.#begin());
    socket.onmessage = current(({ data }) => this.#receive(data));
    socket.onclose = current((event) => this.#lost(event));
    socket.onerror = current(({ message }) => this.#lost({ code: 1006, reason: message ?? "" })); // a close may not follow
  }

  #begin() {
    this.#clearTimers();
    this.#opened = performance.now();
    this.#silence = 0;
    this.#repeat(LOOK, () => this.#look());
    this.#renewInTime();
    this.#state({ state: "open" });
    for (const call of [...this.#calls]) this.#send(call);
    this.#serve([...this.#streams]);
  }

  #receive(data) {
    this.#silence = 0;
    try {
      this.#take(JSON.parse(data), data.length);
    } catch (error) {
      this.#lost({ code: 1006, reason: `a frame that is not of the protocol: ${why(error)}` });
    }
  }

  #take(frame, size) {
    expect("frame", typeof frame === "object" && !Array.isArray(frame));
    const { id, result, error, method, params } = frame;
    if (method === "message") this.#routes.get(params.topic)?.message(params, size);
    else if (method === "gap") this.#routes.get(params.topic)?.gap(params);
    else if (method === "closing") this.#closing(params ?? {});
    else if (method === undefined) this.#answer(id, error, result);
  }

  #closing({ reason, retry_after }) {
    this.#retryAfter = seconds(retry_after) ?? 0;
    this.#wire.closing = true;
    this.#state({ state: "closing", reason });
  }

  /** What the service could not read has no id in its answer; answers come in the order of the requests. */
  #answer(id, error, result) {
    const asked = id === null && error ? this.#pending.keys().next().value : id;
    const answered = this.#pending.get(asked);
    if (!answered) return;
    if (error) expect("error", typeof error === "object" && typeof (error.data ?? {}) === "object");
    else expect("result", result !== null && typeof result === "object" && !Array.isArray(result));
    this.#pending.delete(asked);
    if (error) answered(new SluiceError(String(error.message), error.code, error.data ?? {}));
    else answered(undefined, result);
  }

  #look() {
    this.#silence += 1;
    if (this.#silence > 2) return this.#lost({ code: 1006, reason: "silence" });
    if (this.#silence > 1) this.#ping();
    for (const { forgotten, topic } of this.#feeds.values()) {
      // The batch of a stream that is not read would be cancelled after 60 s without a reader.
      if (!forgotten) continue;
      this.#notify("subscribe", { topic });
      this.#notify("unsubscribe", { topic });
    }
  }

  #ping() {
    this.#ask("ping", "{}", () => {});
  }

  /** The network is back, or the page: wait no longer, and see whether the connection still is. */
  #check() {
    if (this.#error) return;
    if (this.#socket === null) {
      this.#clearTimers();
      this.#connect();
    } else if (this.#isOpen) {
      this.#silence = Math.max(this.#silence, 1);
      this.#ping();
      this.#after(SIGN, () => this.#silence && this.#lost({ code: 1006, reason: "silence" }));
    }
  }

  #lost({ code, reason }) {
    const opened = this.#opened !== undefined;
    const lasted = opened ? performance.now() - this.#opened : 0;
    this.#drop();
    const renewed = code === 4401 && this.#credentials.refused();
    if (NEVER_BACK.has(code) && !renewed) return this.#end(new SluiceError(reason || `closed with ${code}`, code));
    this.#cut();
    const soon = BACK_AT_ONCE.has(code) || (opened && !renewed && !BACK_LATER.has(code));
    if (lasted >= this.backoff.steady * 1000) this.#failures = 0;
    const after = this.#retryAfter + this.#delay(this.#failures++, soon);
    this.#retryAfter = 0;
    this.#after(after * 1000, () => this.#connect());
    this.#state({ state: "waiting", code, reason, after });
  }

  /** How many seconds to wait after this many failures: anything up to the delay, or at least half of it where not `soon`. */
  #delay(failures, soon = false) {
    const { first, most } = this.backoff;
    const delay = Math.min(most, first * 2 ** Math.min(failures, 60));
    const least = soon ? 0 : delay / 2;
    return least + (delay - least) * Math.random();
  }

  /** Calls that wait for an answer of this connection are sent again over the next. */
  #cut() {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    this.#feeds.clear();
    this.#routes.clear();
    for (const answered of pending) answered(CUT);
  }

  #drop() {
    this.#clearTimers();
    const socket = this.#socket ?? {};
    this.#socket = null;
    this.#opened = undefined;
    this.#wire.closing = false;
    if (!socket.close) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // `ws` throws where nobody listens
    socket.close();
    // `ws` waits for half a minute for the other end.
    if (socket.terminate) setTimeout(() => socket.readyState === 3 || socket.terminate(), 1000).unref?.();
  }

  #end(error, reason = error) {
    if (this.#error) return;
    this.#error = error;
    for (const stream of [...this.#streams]) this.#leaveAtTheEnd(stream, reason);
    this.#drop();
    this.#pending.clear();
    this.#feeds.clear();
    this.#routes.clear();
    for (const call of [...this.#calls]) call.reject(error);
    for (const stop of this.#stops) stop();
    for (const [target, name, listener] of this.#networkEvents) target?.removeEventListener?.(name, listener);
    this.#state({ state: "closed", code: error.code, reason: error.message });
  }

  #leaveAtTheEnd(stream, error) {
    if (stream.method === "fetch" && stream.topic && !stream.done) this.#wire.cancel(stream);
    this.#finish(stream, error);
  }

  #state(state) {
    const failed = (error) => console.error("onState failed:", error);
    try {
      this.onState(state)?.then?.(undefined, failed);
    } catch (error) {
      failed(error);
    }
  }

  // Credentials.

  #authenticated({ unsubscribed = [] }) {
    for (const topic of unsubscribed) {
      const refusal = new SluiceError(`${topic}: the new token does not cover it`, -32002, { reason: "forbidden" });
      this.#routes.get(topic)?.end(refusal);
    }
    this.#renewInTime();
  }

  /** Show another token before this one ends, where there is a function to ask. */
  #renewInTime(failures = 0) {
    clearTimeout(this.#renewal);
    this.#timers.delete(this.#renewal);
    const due = this.#credentials.renewIn();
    if (due === undefined || !this.#isOpen) return;
    const pause = failures && 1000 * this.#delay(failures);
    this.#renewal = this.#after(Math.min(TIMER, Math.max(due, pause)), () => this.#renew(failures));
  }

  async #renew(failures) {
    const socket = this.#socket;
    const before = this.#credentials.expires;
    const again = () => this.#socket === socket && this.#renewInTime(failures + 1);
    try {
      const token = checkedToken(await this.#credentials.ask());
      if (!token || this.#socket !== socket || !this.#isOpen) return again();
      this.#ask("authenticate", json({ token }), (error, result) => {
        if (error) return again();
        this.#credentials.renewed(token, result.expires);
        this.#authenticated(result);
        const due = this.#credentials.renewIn();
        if (due !== undefined && (result.expires <= before || due < SOON)) again();
      });
    } catch {
      again();
    }
  }

  // Timers, of which none outlives its connection.

  #after(ms, then) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      then();
    }, Math.min(ms, TIMER));
    this.#timers.add(timer);
    return timer;
  }

  #repeat(ms, then) {
    this.#after(ms, () => {
      const socket = this.#socket;
      then();
      if (this.#socket === socket && socket) this.#repeat(ms, then);
    });
  }

  #clearTimers() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  // Batches that do not fit a message.

  /** Begin one by POST: it runs to its end, and is read like any other. The key makes its repetition harmless. */
  async #post(stream) {
    stream.posting = true;
    const key = unique();
    for (let failures = 0; !stream.ended; failures++) {
      let refusal;
      try {
        const document = await this.#posted(stream.params, key);
        stream.posting = false;
        stream.topic = text("topic", document.topic);
        stream.batch = document.batch;
        return stream.ended ? this.#wire.cancel(stream) : this.#serve([stream]);
      } catch (error) {
        refusal = error;
      }
      const renewable = refusal.code === 401 && this.#credentials.renewable;
      if (refusal instanceof SluiceError && !refusal.temporary && !renewable) return this.#finish(stream, refusal);
      const asked = refusal instanceof SluiceError ? refusal.retryAfter : 0;
      await this.#pause(1000 * (asked + this.#delay(failures)));
    }
  }

  async #posted(params, key) {
    const token = checkedToken(await this.#credentials.current());
    const url = new URL(this.url);
    url.protocol = url.protocol.replace("ws", "http");
    url.pathname = url.pathname.replace(/ws$/, "fetch-batch");
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key, Prefer: "respond-async" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const limit = new AbortController();
    const stop = () => limit.abort();
    const timer = setTimeout(stop, POST);
    this.#stops.add(stop);
    try {
      const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(params), signal: limit.signal });
      const document = await answer.json().catch(() => ({}));
      if (answer.ok && document.topic) return document;
      const passing = answer.status < 400 || answer.status >= 500 || [408, 425, 429].includes(answer.status);
      const details = { reason: document.reason, retry_after: retryAfter(answer.headers), temporary: document.temporary || passing };
      throw new SluiceError(document.detail ?? `HTTP status ${answer.status}`, answer.status, details);
    } finally {
      clearTimeout(timer);
      this.#stops.delete(stop);
    }
  }

  /** Wait, but not beyond the end of the client. */
  #pause(ms) {
    return new Promise((resolve) => {
      const stop = () => {
        clearTimeout(timer);
        this.#stops.delete(stop);
        resolve();
      };
      const timer = setTimeout(stop, ms);
      this.#stops.add(stop);
      if (this.#error) stop();
    });
  }
}

/** The address of the WebSocket; a path and a query stay, for proxies that look at them. */
function address(url) {
  const found = new URL(url, globalThis.location?.href);
  found.protocol = found.protocol.replace("http", "ws");
  if (!["ws:", "wss:"].includes(found.protocol)) throw new TypeError(`url: ${url} does not begin with http://, https://, ws:// or wss://`);
  found.pathname = `${found.pathname.replace(/\/+$/, "").replace(/\/ws$/, "").replace(/\/+$/, "")}/ws`;
  found.hash = "";
  return found;
}

/** JSON as the service reads it: what would be refused, left out or changed without a word is an error. */
function json(value) {
  let text;
  try {
    text = JSON.stringify(value, checked);
  } catch (error) {
    throw invalid(`this cannot be sent as JSON: ${why(error)}`, error);
  }
  if (text === undefined) throw invalid(`this cannot be sent as JSON: ${typeof value}`);
  // JSON.stringify writes half of a surrogate pair as an escape, and nothing else of that range.
  if (text.includes("\\ud") && /(?:^|[^\\])(?:\\\\)*\\ud[89a-f]/.test(text)) throw invalid("this cannot be sent as JSON: half of a surrogate pair");
  if (text.length > 2 * DEPTH && depth(text) > DEPTH) throw invalid(`this cannot be sent as JSON: deeper than ${DEPTH}`);
  return text;
}

function checked(key, value) {
  const kind = typeof value;
  if (kind === "number" && !Number.isFinite(value)) throw new TypeError(`${value} is not a number there`);
  if (kind === "function" || kind === "symbol") throw new TypeError(`a ${kind}`);
  const type = kind === "object" && value !== null && Object.prototype.toString.call(value).slice(8, -1);
  if (type && !LIKE_JSON.has(type)) throw new TypeError(`a ${type}`);
  if (kind === "undefined" && Array.isArray(this)) throw new TypeError("undefined in an array");
  if (value === null && this[key] instanceof Date) throw new TypeError("an invalid date");
  return value;
}

function depth(text) {
  let most = 0;
  let open = 0;
  for (let at = 0; at < text.length; at++) {
    const mark = text[at];
    if (mark === "[" || mark === "{") most = Math.max(most, ++open);
    else if (mark === "]" || mark === "}") open--;
    else if (mark === '"') for (at++; text[at] !== '"'; at++) if (text[at] === "\\") at++;
  }
  return most;
}

function checkedToken(token) {
  if (token !== undefined && token !== null && typeof token !== "string") throw new TypeError(`a token is a text, not ${typeof token}`);
  return token;
}

function text(name, value) {
  if (typeof value !== "string") throw invalid(`${name}: a text is expected, not ${typeof value}`);
  return value;
}

function batch(urls, options) {
  if (typeof urls === "string") throw invalid("urls: a list is expected, not a text");
  const items = Array.from(urls, (item) => (item instanceof URL ? item.href : item));
  if (items.every((item) => typeof item === "string")) return { urls: items, options };
  return { requests: items.map((item) => (typeof item === "string" ? { url: item } : item)), options };
}

/** Where to begin: `newest`, `oldest`, or a position, as an object or as `EPOCH:OFFSET`. */
function place(since) {
  if (since === undefined || since === null || since === "newest" || since === "oldest") return since ?? undefined;
  const [, name, number] = typeof since === "string" ? (/^(.+):(\d{1,15})$/s.exec(since) ?? []) : [];
  const { epoch, offset } = name === undefined ? since : { epoch: name, offset: Number(number) };
  if (typeof epoch !== "string" || !epoch || !Number.isSafeInteger(offset)) throw invalid("since: newest, oldest, or a position as EPOCH:OFFSET");
  return { epoch, offset };
}

/** When a signed token ends, in seconds of the Unix epoch (RFC 7519, section 4.1.4). */
function expiry(token) {
  try {
    const { exp } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return moment(exp);
  } catch {
    return undefined; // not a signed token
  }
}

function why(error) {
  try {
    return String(error?.message ?? error);
  } catch {
    return "an error without a message";
  }
}

/** The seconds of a Retry-After (RFC 9110, section 10.2.3): a date counts from the answer's own. */
function retryAfter(headers) {
  const value = headers.get("Retry-After")?.trim() ?? "";
  if (/^\d{1,9}$/.test(value)) return Number(value);
  const apart = (Date.parse(value) - Date.parse(headers.get("Date") ?? new Date().toUTCString())) / 1000;
  return value && Number.isFinite(apart) ? Math.max(0, apart) : undefined;
}

const moment = (value) => (Number.isFinite(value) ? value : undefined); // as a time of the Unix epoch
const seconds = (value) => (typeof value === "number" && value >= 0 ? Math.min(value, HEEDED) : undefined);
const expect = (what, is) => {
  if (!is) throw new TypeError(`${what}: not as expected`);
};
const same = (one, other) => one.epoch === other.epoch && one.offset === other.offset;
const unique = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(36)).join("");
