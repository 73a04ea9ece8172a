// One client in one version of Node: node node_version.mjs MODULE URL [PACKAGES], with the WebSocket of Node or of `ws`.
// Tells its states and the outcome of its calls; at the message "last" it closes its client, and has to end by itself.
import { createRequire } from "node:module";

const [module, url, packages] = process.argv.slice(2);
const { Sluice } = await import(module);
const options = packages ? { WebSocket: createRequire(`${packages}/`)("ws") } : {};
const say = (fields) => console.log(JSON.stringify(fields));
const settle = (name, call) => call.then(() => say({ name }), ({ reason, message }) => say({ name, failed: reason || message }));

const client = new Sluice(url, { ...options, backoff: { first: 0.05, most: 0.1 }, onState: (fields) => say(fields) });
settle("early", client.publish(`of-${process.pid}`, 1));
const stream = client.subscribe("t", { since: "oldest" });
for await (const item of stream) {
  say({ item });
  if (item.data !== "last") continue;
  await settle("late", client.publish(`of-${process.pid}`, 2));
  settle("unanswered", client.call("presence", { topic: "t" }));
  client.close();
}
say({ name: "loop" });
