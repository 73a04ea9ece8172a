// The cases of tests/vectors/clients against the JavaScript client: node vectors.mjs MODULE FOLDER; tells each failure.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Socket, install, pass, time, timersLeft, turn, until } from "./clock.mjs";

const [module, folder] = process.argv.slice(2);
const { Sluice } = await import(`data:text/javascript;base64,${readFileSync(module).toString("base64")}`);
install();
console.error = () => {}; // errors of listeners are printed there

function strange({ $: kind, seconds }) {
  const circular = [];
  circular.push(circular);
  let deep = 1;
  for (let level = 0; level < 1200; level++) deep = [deep];
  const raising = { toJSON: () => { throw new Error("it raises"); } };
  return { long: "x".repeat(70_000), nan: NaN, infinity: Infinity, circular, deep, foreign: 10n, map: new Map([[1, 2]]), boxed: new Number(NaN), decimal: Promise.resolve(1), date: new Date(NaN), bytes: new Uint8Array(2), pattern: /x/, raising, function: () => {}, in: time() / 1000 + seconds }[kind];
}

function made(value) {
  if (Array.isArray(value)) return value.map(made);
  if (value === null || typeof value !== "object") return value;
  if ("$" in value) return strange(value);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, made(item)]));
}

function tokenOf(entry) {
  if (typeof entry !== "object") return entry;
  const claims = btoa(JSON.stringify({ exp: Math.round(time() / 1000) + entry.expires, name: entry.name }));
  return `e30.${claims.replace(/=/g, "").replace(/\+/g, "-").replace(/\//g, "_")}.x`;
}

/** What a token is called in a case. */
function shown(token) {
  if (token?.split(".").length !== 3) return token;
  return JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).name;
}

function tokens(token) {
  if (typeof token !== "object") return token;
  const left = [...token.function];
  return async () => {
    const entry = left.length > 1 ? left.shift() : left[0];
    if (entry.raises) throw new Error("no token");
    return tokenOf(entry);
  };
}

class Run {
  states = [];
  unread = [];
  calls = {};
  items = {};
  streams = {};
  asked = [];
  taken = 0; // sockets
  read = 0; // frames of this socket

  constructor({ token, listener, mute = false }) {
    Socket.all.length = 0;
    Socket.mute = mute;
    const onState = (state) => {
      this.states.push(state);
      this.unread.push(state);
      if (listener === "raises") throw new Error("a listener that raises");
    };
    this.client = new Sluice("http://service.example", { WebSocket: Socket, token: tokens(token), onState });
  }

  async connects({ connects: how, token }) {
    const waits = ({ readyState }) => readyState === 0;
    this.socket = await until(() => Socket.all.slice(this.taken).find(waits), 700);
    this.taken = Socket.all.indexOf(this.socket) + 1;
    this.read = 0;
    if (token !== undefined) assert.equal(shown(this.socket.token), token.name ?? token);
    if (how === "accept") this.socket.open();
    else if (how === "refuse") this.socket.end(1006, "refused", { error: true, close: this.taken % 2 === 0 });
    else if (how !== "hang") this.socket.end(1006, `status ${how}`, { error: true });
    await turn();
  }

  async asks({ asks, params, again }) {
    const frame = await this.frame(asks, params);
    assert.ok(frame.id !== undefined);
    if (again) assert.deepEqual(frame.params, this.asked.at(-1).params);
    this.asked.push(frame);
  }

  async tells({ tells, params }) {
    assert.equal((await this.frame(tells, params)).id, undefined);
  }

  async frame(method, params = {}) {
    const frame = await until(() => this.socket.sent[this.read]);
    this.read += 1;
    assert.equal(frame.method, method, JSON.stringify(frame));
    for (const [name, value] of Object.entries(params)) {
      if (name === "token" && typeof value === "object") assert.equal(shown(frame.params[name]), value.name);
      else assert.deepEqual(frame.params[name] ?? null, value, JSON.stringify(frame));
    }
    return frame;
  }

  async quiet({ quiet }) {
    await pass(quiet);
    assert.deepEqual(this.socket.sent.slice(this.read), []);
  }

  answers({ answers }) {
    this.socket.say({ id: this.asked.at(-1).id, result: made(answers) });
  }

  says({ says }) {
    this.socket.say({ id: this.asked.at(-1).id, ...says });
  }

  refuses({ refuses: error, ...more }) {
    this.socket.say({ id: "id" in more ? more.id : this.asked.at(-1).id, error });
  }

  sends({ sends }) {
    this.socket.say(sends);
  }

  closes({ closes, reason }) {
    this.socket.end(closes, reason);
  }

  cuts() {
    this.socket.end(1006);
  }

  calls_({ calls: method, args = [], options, as: name }) {
    const all = options ? [...made(args), made(options)] : made(args);
    if (method.startsWith("job_")) {
      this.settle(name, this.client.followJob(...all)[method.slice("job_".length)]());
      return;
    }
    if (method === "follow_job") method = "followJob";
    if (!["subscribe", "fetch", "watch", "followJob"].includes(method)) {
      this.settle(name, Promise.resolve().then(() => this.client[method](...all)));
      return;
    }
    this.items[name] = [];
    this.streams[name] = method === "followJob" ? this.loopOver(...all) : this.client[method](...all);
    this.settle(name, this.loop(name));
  }

  /** A job has a stream for each loop. */
  loopOver(job) {
    const stream = this.client.followJob(job)[Symbol.asyncIterator]();
    return { [Symbol.asyncIterator]: () => stream, return: () => stream.return() };
  }

  settle(name, promise) {
    const call = (this.calls[name] = { promise });
    call.promise = promise.then(
      (value) => Object.assign(call, { done: true, value }),
      (error) => Object.assign(call, { done: true, error }),
    );
  }

  async loop(name) {
    for await (const item of this.streams[name]) this.items[name].push(item);
  }

  async leaves({ leaves }) {
    await this.streams[leaves].return();
  }

  settles({ settles, with: value }) {
    assert.equal(this.calls[settles].error, undefined);
    assert.ok(this.calls[settles].done);
    const answer = this.calls[settles].value;
    if (answer?.topic && value) assert.deepEqual(Object.fromEntries(Object.keys(value).map((key) => [key, answer[key]])), value);
    else if (value !== undefined) assert.deepEqual(answer, value);
  }

  rejects({ rejects, ...why }) {
    assert.ok(this.calls[rejects].done, "it waits");
    this.why(this.calls[rejects].error, why);
  }

  why(error, { reason, naming = "", code, closed }) {
    assert.ok(["SluiceError", "JobError"].includes(error?.name), String(error));
    assert.equal(error.reason === "closed", Boolean(closed));
    if (reason) assert.equal(error.reason, reason);
    if (code) assert.equal(error.code, code);
    assert.ok(error.message.includes(naming), error.message);
  }

  waits_for({ waits_for: name }) {
    assert.ok(!this.calls[name].done);
  }

  items_({ items: name, are }) {
    const got = this.items[name].splice(0, are.length);
    assert.deepEqual(got.map((item, number) => this.item(item, are[number])), are);
  }

  item({ gap, restart, offset, data, ...event }, like) {
    if (gap) return { gap: [gap.from, gap.to] };
    if (restart) return { restart: [restart.epoch, restart.offset] };
    if (Array.isArray(like)) return [offset, data];
    return Object.fromEntries(Object.keys(like ?? {}).map((key) => [key, event[key]]));
  }

  ends({ ends: name, ...why }) {
    assert.ok(this.calls[name].done, "it goes on");
    assert.deepEqual(this.items[name], []);
    if (why.closed || !Object.keys(why).length) assert.equal(this.calls[name].error, undefined); // close() ends loops quietly
    else this.why(this.calls[name].error, why);
  }

  async passes({ passes }) {
    await pass(passes);
  }

  async state({ state, code, after }) {
    const found = await until(() => this.unread.find((entry) => entry.state === state));
    this.unread.splice(0, this.unread.indexOf(found) + 1);
    if (code !== undefined) assert.equal(found.code, code);
    if (after) assert.ok(after[0] <= found.after && found.after <= after[1], JSON.stringify(found));
  }

  states_({ states }) {
    assert.deepEqual(this.states.map(({ state }) => state), states);
  }

  async step(step) {
    const name = Object.keys(step)[0];
    await (this[`${name}_`] ?? this[name]).call(this, step);
    for (let turns = 0; turns < 3; turns++) await turn();
  }

  async end() {
    this.client.close();
    for (let turns = 0; turns < 3; turns++) await turn();
    for (const [name, { done }] of Object.entries(this.calls)) assert.ok(done, `${name} neither settles nor ends`);
    assert.equal(timersLeft(), 0, "no timer is left");
    assert.ok(Socket.all.every(({ readyState }) => readyState === 3), "no socket is left");
    assert.equal(this.states.at(-1).state, "closed");
  }
}

let count = 0;
for (const file of readdirSync(folder).filter((name) => name.endsWith(".json"))) {
  for (const { name, steps, ...options } of JSON.parse(readFileSync(join(folder, file), "utf8"))) {
    const run = new Run(options);
    let at = "at the end";
    try {
      for (const [number, step] of steps.entries()) {
        at = `step ${number}: ${JSON.stringify(step)}`;
        await run.step(step);
      }
      at = "at the end";
      await run.end();
    } catch (error) {
      console.log(`${file}: ${name}: ${at}: ${error.message}`);
      run.client.close();
      await pass(1000);
    }
    count += 1;
  }
}
console.log(`${count} cases`);
