// When the module comes back, and what it does in silence: on a clock and with sockets that the tests move.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { beforeEach, mock, test } from "node:test";

const source = await readFile(new URL("../../service/edge/static/sluice.js", import.meta.url));
const { Sluice } = await import(`data:text/javascript;base64,${source.toString("base64")}`);

let sockets, states, client;

class Socket {
  readyState = 0;
  sent = [];

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    sockets.push(this);
  }

  send(text) {
    this.sent.push(...[JSON.parse(text)].flat());
  }

  close() {
    this.readyState = 3;
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  say(value) {
    this.onmessage({ data: JSON.stringify({ jsonrpc: "2.0", ...value }) });
  }

  answer(result) {
    this.say({ id: this.sent.at(-1).id, result });
  }

  refuse(data) {
    this.say({ id: this.sent.at(-1).id, error: { code: -32000, message: "refused", data } });
  }

  end(code) {
    this.readyState = 3;
    this.onclose({ code, reason: "" });
  }
}

const now = () => sockets.at(-1);

/** Let time pass in small steps: a timer that is set by another is due as late as it would be. */
function pass(seconds) {
  let left = seconds * 1000;
  do mock.timers.tick(Math.min(left, 250));
  while ((left -= 250) > 0);
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  mock.restoreAll();
  mock.method(Math, "random", () => 1);
  mock.method(performance, "now", () => Date.now());
  sockets = [];
  states = [];
  client = new Sluice("https://example.com/base/", { WebSocket: Socket, token: "T", onState: (state) => states.push(state) });
});

test("the address and the credentials", () => {
  assert.equal(now().url.href, "wss://example.com/base/ws");
  assert.deepEqual(now().protocols, ["sluice.v1", "bearer.T"]);
});

test("what cannot be reached is tried less and less often, up to every half minute", () => {
  const waits = [];
  for (let attempt = 0; attempt < 9; attempt++) {
    now().end(1006);
    waits.push(states.at(-1).after);
    pass(states.at(-1).after);
  }
  assert.deepEqual(waits, [0.5, 1, 2, 4, 8, 16, 30, 30, 30]);
});

test("each close code has its advice", () => {
  for (const [code, chance, wait] of [[1001, 0, 0], [4408, 0, 0], [1006, 0, 0], [4999, 1, 0.5], [1013, 0, 0.25], [4429, 1, 0.5]]) {
    mock.method(Math, "random", () => chance);
    now().open();
    pass(10); // it was a good one
    now().end(code);
    assert.deepEqual([code, states.at(-1).after], [code, wait]);
    pass(wait);
  }
  const count = sockets.length;
  now().open();
  now().end(1009);
  pass(100);
  assert.equal(sockets.length, count);
  assert.equal(states.at(-1).state, "closed");
});

test("a time that the service names is kept", async () => {
  now().open();
  now().say({ method: "closing", params: { reason: "draining", retry_after: 7 } });
  now().end(1001);
  assert.equal(states.at(-1).after, 7.5);
  pass(7.5);
  now().open();
  const published = client.publish("t", 1, { key: null });
  now().refuse({ reason: "rate", temporary: true, retry_after: 3 });
  pass(5.9);
  assert.equal(now().sent.length, 1);
  pass(0.1);
  assert.equal(now().sent.length, 2);
  assert.ok(now().sent[0].params.key);
  assert.equal(now().sent[0].params.key, now().sent[1].params.key);
  now().answer({ epoch: "e", offset: 1 });
  assert.equal((await published).offset, 1);
});

test("a fixed token that is not a text is refused at once", () => {
  for (const token of [5, {}, ["T"]]) assert.throws(() => new Sluice("https://example.com/", { WebSocket: Socket, token }), TypeError);
});

test("a listener of states whose promise is rejected harms nobody", async () => {
  const reported = mock.method(console, "error", () => {});
  const failing = async () => Promise.reject(new Error("it fails later"));
  const other = new Sluice("https://example.com/", { WebSocket: Socket, onState: failing });
  other.close();
  for (let turn = 0; turn < 5; turn++) await undefined;
  assert.equal(reported.mock.callCount(), 2);
  reported.mock.restore();
});

test("a publish whose key may have been forgotten is not sent again", async () => {
  const published = client.publish("t", 1);
  for (let attempt = 0; attempt < 9; attempt++) {
    now().end(1006);
    pass(states.at(-1).after);
  }
  now().open();
  await assert.rejects(published, { reason: "timeout" });
  assert.deepEqual(now().sent, []);
});

test("a connection that is silent is asked, and given up", () => {
  now().open();
  pass(30);
  assert.deepEqual(now().sent.map(({ method }) => method), ["ping"]);
  now().answer({});
  pass(30);
  assert.equal(states.at(-1).state, "open");
  pass(15);
  assert.equal(states.at(-1).reason, "silence");
});

test("a batch that nobody reads has its place kept", async () => {
  now().open();
  const events = client.fetch(["https://example.com/"]);
  now().answer({ batch: "b", topic: "batch:b", epoch: "e", total: 1 });
  now().say({ method: "message", params: { topic: "batch:b", offset: 1, data: "x".repeat(2 << 20) } });
  assert.deepEqual(now().sent.at(-1).method, "unsubscribe");
  now().say({ method: "message", params: { topic: "batch:b", offset: 2, data: "was on its way" } });
  pass(15);
  const kept = now().sent.slice(-2).map(({ id, method, params }) => [id, method, params.since?.offset]);
  assert.deepEqual(kept, [[undefined, "subscribe", undefined], [undefined, "unsubscribe", undefined]]);
  await events.next();
  assert.deepEqual(now().sent.at(-1).params, { topic: "batch:b", since: { epoch: "e", offset: 1 } });
});

test("a limit is reported at once, and waited for where something was begun", async () => {
  now().open();
  const first = client.subscribe("t");
  now().refuse({ reason: "limit", temporary: true });
  await assert.rejects(first.next(), { reason: "limit" });
  const second = client.subscribe("u");
  now().answer({ topic: "u", epoch: "e", offset: 5, recovered: false });
  client.reconnect();
  pass(1);
  now().open();
  now().refuse({ reason: "limit", temporary: true });
  pass(2);
  assert.deepEqual(now().sent.at(-1).params.since, { epoch: "e", offset: 5 });
  now().answer({ topic: "u", epoch: "e", offset: 5, recovered: true });
  now().say({ method: "gap", params: { topic: "u", from: 6, to: 8 } });
  assert.deepEqual(await second.next(), { value: { gap: { from: 6, to: 8 } }, done: false });
  assert.deepEqual(second.position, { epoch: "e", offset: 8 });
});

test("a stream waits for a service that is away, and its position is its reader's", async () => {
  const stream = client.subscribe("t", { since: { epoch: "e", offset: 1, data: "of a run before" } });
  for (let attempt = 0; attempt < 12; attempt++) {
    now().end(1006);
    pass(states.at(-1).after);
  }
  now().open();
  assert.deepEqual(now().sent[0].params, { topic: "t", since: { epoch: "e", offset: 1 } });
  now().answer({ topic: "t", epoch: "e", offset: 1, recovered: true });
  for (const offset of [2, 3]) now().say({ method: "message", params: { topic: "t", offset, data: 0 } });
  assert.equal((await stream.next()).value.offset, 2);
  assert.deepEqual(stream.position, { epoch: "e", offset: 2 });
  client.reconnect();
  pass(1);
  now().open();
  assert.deepEqual(now().sent[0].params.since, { epoch: "e", offset: 3 });
});

test("a stream that was left before it began leaves when it has", async () => {
  now().open();
  const events = client.fetch(["https://example.com/"]);
  await events.return();
  now().answer({ batch: "b", topic: "batch:b", epoch: "e", total: 1 });
  assert.deepEqual(now().sent.slice(1).map(({ method }) => method), ["unsubscribe", "cancel"]);
});

test("a token that has ended is renewed, and what a new one does not cover ends", async () => {
  let made = 0;
  client = new Sluice("https://example.com/", { WebSocket: Socket, token: () => `T${++made}`, onState: (state) => states.push(state) });
  now().open();
  const stream = client.subscribe("t");
  now().answer({ topic: "t", epoch: "e", offset: 0, recovered: false });
  now().end(4401);
  pass(1);
  assert.deepEqual(now().protocols, ["sluice.v1", "bearer.T2"]);
  now().open();
  now().answer({ topic: "t", epoch: "e", offset: 0, recovered: true });
  const renewed = client.authenticate("T3");
  now().answer({ expires: null, unsubscribed: ["t"] });
  await renewed;
  await assert.rejects(stream.next(), { reason: "forbidden" });
  client.reconnect();
  pass(1);
  assert.deepEqual(now().protocols, ["sluice.v1", "bearer.T3"], "the newest one wins");
  now().end(4401);
  pass(states.at(-1).after);
  assert.deepEqual(now().protocols, ["sluice.v1", "bearer.T3"].with(1, `bearer.T${made}`), "and the function stays");
});

test("addresses keep their path and query, and large batches go there too", async () => {
  client.close();
  const asked = [];
  mock.method(globalThis, "fetch", async (url, { headers }) => {
    asked.push([url.href, headers.Authorization]);
    return { ok: true, json: async () => ({ batch: "b", topic: "batch:b", epoch: "e" }) };
  });
  const bases = {
    "http://h.example": ["ws://h.example/ws", "http://h.example/fetch-batch"],
    "https://h.example/": ["wss://h.example/ws", "https://h.example/fetch-batch"],
    "http://h.example:81/a/b?x=1&y=%2F": ["ws://h.example:81/a/b/ws?x=1&y=%2F", "http://h.example:81/a/b/fetch-batch?x=1&y=%2F"],
    "wss://h.example/a/ws/?x=1#part": ["wss://h.example/a/ws?x=1", "https://h.example/a/fetch-batch?x=1"],
  };
  for (const [base, [socket, post]] of Object.entries(bases)) {
    client = new Sluice(base, { WebSocket: Socket, token: "T" });
    assert.equal(now().url.href, socket);
    now().open();
    const events = client.fetch(Array.from({ length: 3000 }, (_, number) => `http://a.example/${"x".repeat(20)}${number}`));
    for (let turns = 0; turns < 20 && !now().sent.length; turns++) await new Promise(setImmediate);
    assert.deepEqual(asked.pop(), [post, "Bearer T"]);
    assert.equal(now().sent[0].params.topic, "batch:b");
    client.close();
    assert.ok((await events.next()).done);
  }
  for (const base of ["ftp://h.example", "h.example", ""]) assert.throws(() => new Sluice(base, { WebSocket: Socket }), TypeError);
});

test("a network and a page that come back end the wait, and have the connection looked at", () => {
  client.close();
  const window = new EventTarget();
  const listening = new Set();
  globalThis.addEventListener = (name, listener) => (listening.add(name), window.addEventListener(name, listener));
  globalThis.removeEventListener = (name, listener) => (listening.delete(name), window.removeEventListener(name, listener));
  try {
    client = new Sluice("https://example.com/", { WebSocket: Socket, onState: (state) => states.push(state) });
    for (let attempt = 0; attempt < 6; attempt++) {
      now().end(1006);
      if (attempt < 5) pass(states.at(-1).after);
    }
    const before = sockets.length;
    window.dispatchEvent(new Event("online"));
    assert.equal(sockets.length, before + 1, "the wait is over");
    now().open();
    window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    now().answer({});
    pass(6);
    assert.equal(states.at(-1).state, "open");
    window.dispatchEvent(new Event("online"));
    pass(5);
    assert.deepEqual([states.at(-1).state, states.at(-1).reason], ["waiting", "silence"]);
    client.close();
    assert.equal(listening.size, 0);
  } finally {
    delete globalThis.addEventListener;
    delete globalThis.removeEventListener;
  }
});
