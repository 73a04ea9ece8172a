// JavaScript clients that read one topic, as bench/rolling_reader.py has them: node rolling.mjs MODULE URL COUNT.
import { createRequire } from "node:module";

const [module, url, count] = process.argv.slice(2);
const WebSocket = createRequire(import.meta.url)("ws");
const { Sluice } = await import(module);
const met = {};

/** What one client has had, as runs of offsets, and what is wrong with it. */
class Account {
  runs = [];
  wrong = [];

  begin({ epoch, offset }) {
    Object.assign(this, { epoch, offset });
  }

  take({ gap, restart, epoch, offset }) {
    if (restart) {
      if (restart.epoch === this.epoch) this.wrong.push(`a restart within ${this.epoch}`);
      this.begin(restart);
    } else if (gap) {
      this.add("gone", gap.from, gap.to);
    } else {
      if (epoch !== this.epoch) this.wrong.push(`${epoch} without a restart`);
      this.add("had", offset, offset);
    }
  }

  add(what, first, last) {
    if (first !== this.offset + 1) this.wrong.push(`${what} ${first} after ${this.offset}`);
    this.offset = last;
    const run = this.runs.at(-1);
    if (run?.[0] === this.epoch && run[1] === what) run[3] = last;
    else this.runs.push([this.epoch, what, first, last]);
  }
}

/** The next stream that begins, when one of so many that begin at the same time has. */
let beginning = Array.from({ length: 20 }, () => Promise.resolve());
function begun() {
  const [first, ...others] = beginning;
  const opened = first.then(async () => {
    const client = new Sluice(url, { WebSocket });
    const stream = client.subscribe("t", { since: "oldest" });
    return { client, stream, start: await stream.started };
  });
  beginning = [...others, opened];
  return opened;
}

async function read() {
  const account = new Account();
  const epochs = new Set();
  const { client, stream, start } = await begun();
  account.begin(start);
  for await (const item of stream) {
    account.take(item);
    if (item.epoch && !epochs.has(item.epoch)) {
      epochs.add(item.epoch);
      met[epochs.size] = (met[epochs.size] ?? 0) + 1;
      if (met[epochs.size] === Number(count)) console.log(`met ${epochs.size}`);
    }
    if (item.data === "last") break;
  }
  client.close();
  return account;
}

const accounts = await Promise.all(Array.from({ length: Number(count) }, read));
const kinds = new Map();
for (const { runs, wrong } of accounts) {
  const kind = JSON.stringify({ runs, wrong });
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
}
console.log(JSON.stringify([...kinds].map(([kind, clients]) => ({ clients, ...JSON.parse(kind) }))));
