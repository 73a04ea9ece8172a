// Random schedules for the JavaScript client, as tests/client/model.py has them: node model.mjs MODULE FIRST COUNT.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Socket, install, pass, timersLeft, turn } from "./clock.mjs";

const [module, first, count] = process.argv.slice(2);
const { Sluice } = await import(`data:text/javascript;base64,${readFileSync(module).toString("base64")}`);
install();

/** Numbers from a seed (mulberry32). */
function numbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A service with topics and jobs as docs/protocol.md and docs/jobs.md have them, and one connection after another. */
class Service {
  constructor(chance, ring) {
    Object.assign(this, { chance, ring, epochs: 0, socket: null, away: 0, topics: {}, keys: new Map(), made: 0 });
    this.restart();
  }

  /** Jobs are kept on disk, or not. */
  restart() {
    this.epochs += 1;
    if (this.chance() < 0.5) for (const name of this.jobs()) this.forget(name);
    this.readers = new Map();
    for (const name of ["a", "b"]) this.topics[name] = { epoch: `e${this.epochs}`, head: 0, oldest: 1, data: new Map() };
    this.cut();
  }

  /** The names of the topics of jobs that are kept. */
  jobs() {
    return Object.keys(this.topics).filter((name) => name.startsWith("job:") && !this.topics[name].gone);
  }

  make(key) {
    if (!this.keys.has(key)) {
      const name = `job:${(this.made += 1)}`;
      this.keys.set(key, name);
      this.topics[name] = { epoch: `j${this.made}`, head: 0, oldest: 1, data: new Map(), earlier: 0, final: false, gone: false };
      this.say(name, "queued");
    }
    const topic = this.keys.get(key);
    return { job: topic.slice(4), topic, epoch: this.topics[topic].epoch, state: "queued", due: "T" };
  }

  /** Have a job say something; a run begins with "queued", and ends with "done" or "cancelled". */
  say(name, event) {
    const topic = this.topics[name];
    if (event === "queued") Object.assign(topic, { final: false, earlier: topic.head });
    topic.head += 1;
    topic.data.set(topic.head, { event, number: topic.head, due: "T", result: 1 });
    topic.final = ["done", "cancelled"].includes(event);
  }

  /** Keep a job no longer: readers that are behind get a gap, and then its last event. */
  forget(name) {
    const topic = this.topics[name];
    Object.assign(topic, { gone: true, oldest: topic.head });
  }

  cut() {
    if (this.socket?.readyState < 2) this.socket.end(1006, "", { error: this.chance() < 0.5, close: this.chance() < 0.8 || this.socket.readyState === 1 });
  }

  /** Take the attempts that wait, in one of the ways in which that goes. */
  async take() {
    const socket = Socket.all.find(({ readyState }) => readyState === 0);
    if (!socket) return;
    if (this.away > 0) {
      this.away -= 1;
      socket.end(1006, "", { error: true, close: this.chance() < 0.5 });
      return;
    }
    Object.assign(this, { socket, readers: new Map(), taken: 0 });
    socket.open();
    await turn();
  }

  publish(name, count, data) {
    const topic = this.topics[name];
    for (let number = 0; number < count; number++) {
      topic.head += 1;
      topic.data.set(topic.head, data ?? topic.head);
      topic.oldest = Math.max(topic.oldest, topic.head - this.ring + 1);
    }
  }

  /** Answer some requests and send some messages; the rest stays on its way. */
  serve(most = Infinity) {
    const { socket } = this;
    for (; socket?.readyState === 1 && this.taken < socket.sent.length; this.taken++) this.answer(socket.sent[this.taken]);
    for (const [name, at] of this.readers ?? []) {
      const topic = this.topics[name];
      for (let left = most; left > 0 && this.readers.get(name) < topic.head && socket.readyState === 1; left--) {
        let offset = this.readers.get(name);
        if (offset + 1 < topic.oldest) {
          socket.say({ method: "gap", params: { topic: name, from: offset + 1, to: topic.oldest - 1 } });
          offset = topic.oldest - 1;
        }
        if (!this.readers.has(name)) break;
        offset += 1;
        this.readers.set(name, offset);
        socket.say({ method: "message", params: { topic: name, offset, data: topic.data.get(offset) } });
      }
      if (topic.final && this.readers.get(name) === topic.head) this.readers.delete(name);
    }
  }

  answer({ id, method, params }) {
    const refuse = (reason, temporary) => this.socket.say({ id, error: { code: -32000, message: reason, data: { reason, temporary, retry_after: 1 } } });
    if (method === "unsubscribe") this.readers.delete(params.topic);
    if (id === undefined) return;
    if (this.chance() < 0.1) return refuse("rate", true);
    if (method === "job") return this.socket.say({ id, result: this.make(params.key) });
    const job = this.topics[params.job === undefined ? params.topic : `job:${params.job}`];
    if (job?.gone) return refuse("not_found", false);
    if (method === "cancel") {
      const cancelled = !job.final;
      if (cancelled) this.say(`job:${params.job}`, "cancelled");
      return this.socket.say({ id, result: { cancelled, state: job.data.get(job.head).event } });
    }
    if (method !== "subscribe") return this.socket.say({ id, result: { epoch: "p", offset: 1, readers: 0 } });
    if (this.readers.has(params.topic)) return refuse("already_subscribed", false);
    const { epoch, head, oldest, earlier, final } = job;
    const { since = "newest" } = params;
    const known = since.epoch === epoch && since.offset <= head;
    const offset = since === "newest" ? head : known ? since.offset : oldest - 1;
    const ended = (final && offset === head) || undefined;
    if (!ended) this.readers.set(params.topic, offset);
    this.socket.say({ id, result: { topic: params.topic, epoch, offset, recovered: known, earlier: earlier || undefined, ended } });
  }
}

/** A stream, and what its loop was given. */
class Reader {
  items = [];
  done = false;

  constructor(stream, pace) {
    Object.assign(this, { stream, pace });
    this.ended = this.run().then(() => (this.done = true), (error) => Object.assign(this, { done: true, error }));
    stream.started.then((start) => (this.start = start), () => {});
  }

  async run() {
    for await (const item of this.stream) {
      this.items.push(item);
      if (item.data === "last") return;
      if (this.pace) await new Promise((wake) => setTimeout(wake, this.pace));
    }
  }

  /** From where it began every offset comes once and in order, or a loss is reported. */
  check(kept) {
    if (!this.start) return assert.deepEqual(this.items, []);
    let { epoch, offset } = this.start;
    for (const [number, { gap, restart, ...message }] of this.items.entries()) {
      if (restart) {
        const begun = number === 0 && restart.epoch === epoch && restart.offset === offset;
        assert.ok(begun || restart.epoch !== epoch, "a restart that was none");
        ({ epoch, offset } = restart);
        continue;
      }
      assert.ok(!gap || !kept, "a gap where all is kept");
      assert.equal(gap?.from ?? message.offset, offset + 1);
      if (!gap) assert.equal(message.epoch, epoch);
      offset = gap?.to ?? message.offset;
    }
  }
}

/** A loop over a job, and what it was given; `earlier` is up to where the events were of runs before when it began. */
class Follower {
  items = [];
  done = false;
  leaving = false;

  constructor(job, earlier, pace) {
    Object.assign(this, { job, earlier, pace });
    this.ended = this.run().then(() => (this.done = true), (error) => Object.assign(this, { done: true, error }));
  }

  async run() {
    for await (const event of this.job) {
      this.items.push(event);
      if (this.leaving) break;
      if (this.pace) await new Promise((wake) => setTimeout(wake, this.pace));
    }
  }

  /** Every event comes from the first one on, and at the end the last one of a run, unless the job is gone. */
  check() {
    let number = 0;
    for (const { gap, ...event } of this.items) {
      assert.equal(gap?.from ?? event.number, number + 1);
      number = gap?.to ?? event.number;
    }
    if (this.error) return assert.equal(this.error.reason, "not_found");
    if (this.leaving) return;
    const last = this.items.at(-1);
    assert.ok(["done", "cancelled"].includes(last?.event), "it ended before the job");
    assert.ok(last.number > this.earlier, "it ended with an earlier run");
  }
}

async function schedule(seed) {
  const chance = numbers(seed);
  const one = (...values) => values[Math.floor(chance() * values.length)];
  Math.random = chance;
  Socket.all.length = 0;
  Socket.mute = false;
  const ring = one(3, 20, 100_000);
  const service = new Service(chance, ring);
  const token = one(undefined, () => "T", async () => "T");
  const client = new Sluice("http://service.example", { WebSocket: Socket, token, backoff: { first: 0.1, most: 1 } });
  const readers = [];
  const calls = [];
  const call = (promise) => calls.push(promise.then(() => true, ({ name }) => assert.match(name, /^(Sluice|Job)Error$/)));
  const jobs = [];
  const followers = [];
  const text = (length) => "x".repeat(length);
  const acts = {
    begin: () => {
      const since = one("newest", "oldest", "e1:2", { epoch: "e1", offset: 5 }, "other:3", undefined);
      readers.push(new Reader(client.subscribe(one("a", "b"), { since }), one(0, 0, 1, 100)));
    },
    publish: () => service.publish(one("a", "b"), one(1, 5, 30, 300)),
    large: () => service.publish(one("a", "b"), 20, text(100_000)),
    serve: () => service.serve(one(1, 5, Infinity)),
    wait: () => pass(one(0.01, 0.5, 3, 40)),
    take: () => service.take(),
    leave: () => one(...readers, undefined)?.stream.return(),
    cut: () => service.cut(),
    close: () => service.socket?.readyState === 1 && service.socket.end(one(1001, 1013, 4408, 4429, 1011, ...(token ? [4401] : []))),
    restart: () => service.restart(),
    away: () => (service.away = one(1, 2, 3)),
    mute: () => (Socket.mute = one(true, false)),
    call: () => call(one(() => client.publish("c", 1), () => client.publish("c", NaN), () => client.call("presence", { topic: "a" }))()),
    make: () => call(client.job({ run: { name: "f" } }).then((job) => jobs.push(job))),
    follow: () => {
      const job = one(...jobs, undefined);
      const { gone, earlier } = service.topics[job?.topic] ?? { gone: true };
      if (!gone) followers.push(new Follower(one(job, client.followJob(job.id)), earlier, one(0, 0, 100)));
    },
    proceed: () => {
      const name = one(...service.jobs(), undefined);
      if (!name) return;
      if (service.topics[name].final) service.say(name, "queued");
      for (let left = one(0, 1, 300); left > 0; left--) service.say(name, "progress");
      if (chance() < 0.5) service.say(name, "done");
    },
    stop: () => {
      const follower = one(...followers, undefined);
      if (follower) follower.leaving = true;
    },
    cancelJob: () => one(...jobs, undefined) && call(one(...jobs).cancel()),
    result: () => one(...jobs, undefined) && call(one(...jobs).result()),
    forget: () => {
      const name = one(...service.jobs(), undefined);
      if (name && service.topics[name].final) service.forget(name);
    },
    reconnect: () => client.reconnect(one(0, 1)),
    nonsense: () => service.socket?.readyState === 1 && service.socket.say(one("{", "[]", '{"method":"message"}', "null")),
  };
  const usual = ["begin", "publish", "serve", "take", "wait", "make", "follow", "proceed"];
  for (let left = 10 + Math.floor(chance() * 60); left > 0; left--) {
    await acts[chance() < 0.7 ? one(...usual) : one(...Object.keys(acts))]();
    await turn();
  }
  // Let everything come to rest, then publish a last message, which all who are there get.
  Socket.mute = false;
  service.away = 0;
  const rest = async () => {
    for (let left = 60; left > 0; left--) {
      await service.take();
      service.serve();
      await pass(2);
    }
  };
  await rest();
  for (const name of ["a", "b"]) service.publish(name, 1, "last");
  for (const name of service.jobs()) if (!service.topics[name].final) service.say(name, "done");
  await rest();
  for (const follower of followers) {
    assert.ok(follower.done, "a loop over a job that does not end");
    follower.check();
  }
  for (const reader of readers) {
    assert.ok(reader.done, "a loop that does not end");
    assert.equal(reader.error, undefined);
    reader.check(ring === 100_000);
  }
  readers.push(new Reader(client.subscribe("a"), 0));
  call(client.publish("c", 1));
  client.close();
  await Promise.all([...calls, ...[...readers, ...followers].map(({ ended }) => ended)]);
  assert.equal(timersLeft(), 0, "a timer is left");
  assert.ok(Socket.all.every(({ readyState }) => readyState === 3), "a socket is left");
}

for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  try {
    await schedule(seed);
  } catch (error) {
    console.log(`seed ${seed}: ${error.stack.split("\n").slice(0, 3).join(" ")}`);
    process.exitCode = 1;
    break; // what is left of it would be found in the next one
  }
}
console.log(`${count} schedules`);
