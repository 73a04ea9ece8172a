// Runs commands from standard input, a JSON object a line, with the module sluice.js, and prints the outcome of them.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const WebSocket = createRequire(import.meta.url)("ws");
const [module, url, options] = process.argv.slice(2);
const { Sluice } = await import(module);
const say = (value) => console.log(JSON.stringify(value));
const backoff = { first: 0.1, most: 0.5 };
const connect = () => new Sluice(url, { backoff, ...JSON.parse(options), WebSocket, onState: (state) => say(state) });
const clients = { 0: connect() }; // any other when it is needed
const streams = {};

async function read(name, most) {
  try {
    for await (const item of streams[name]) {
      say({ name, item });
      if (--most === 0) break;
    }
    say({ name, end: true });
  } catch ({ code, reason, message }) {
    say({ name, error: { code, reason, message } });
  }
}

async function call(name, answer) {
  try {
    say({ name, answer: (await answer) ?? null });
  } catch ({ code, reason, message }) {
    say({ name, error: { code, reason, message } });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { name, method, args = [], most = Infinity, later, client: number = 0 } = JSON.parse(line);
  const client = (clients[number] ??= connect());
  if (method === "read") read(name, most);
  else if (method === "held") say({ name, answer: streams[name].size });
  else if (method === "cancel") call(name, streams[name].cancel());
  else if (!["subscribe", "fetch", "watch"].includes(method)) call(name, client[method](...args));
  else {
    streams[name] = client[method](...args);
    streams[name].started.then(() => say({ name, started: true }), () => {});
    if (!later) read(name, most);
  }
}
