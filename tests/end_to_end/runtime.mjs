// One client in a real runtime: node runtime.mjs MODULE URL KIND; tells its states, publishes, and closes when it has to.
import { createRequire } from "node:module";

const [module, url, kind, until] = process.argv.slice(2);
const { Sluice } = await import(module);
const options = kind === "ws" ? { WebSocket: createRequire(import.meta.url)("ws") } : {};
const say = (value) => console.log(JSON.stringify(value));

const client = new Sluice(url, {
  ...options,
  backoff: { first: 0.05, most: 0.1 },
  onState: ({ state, code }) => {
    say(code ? `${state} ${code}` : state);
    if (state === until) queueMicrotask(() => client.close());
  },
});
for (const data of ["\ud83d", 1n, 1]) {
  await client.publish("t", data).then(({ offset }) => say(`offset ${offset}`), ({ reason, code }) => say(reason || code));
}
