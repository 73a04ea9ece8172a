// Follow a topic, publish to it, and fetch some URLs: node examples/client.js http://127.0.0.1:8080 https://example.com/
import { createRequire } from "node:module";
import { Sluice } from "../service/edge/static/sluice.js"; // in a browser: from "http://127.0.0.1:8080/static/sluice.js"

const WebSocket = globalThis.WebSocket ?? createRequire(import.meta.url)("ws"); // Node has its own from 22 on
const [service = "http://127.0.0.1:8080", ...urls] = process.argv.slice(2);
const client = new Sluice(service, { token: process.env.SLUICE_TOKEN, WebSocket });

await client.publish("lobby", { hello: "world" });
for await (const { offset, data, gap, restart } of client.subscribe("lobby", { since: "oldest" })) {
  if (gap) console.log(`messages ${gap.from} to ${gap.to} are gone`);
  else if (restart) console.log("the topic began anew");
  else console.log(`message ${offset}: ${JSON.stringify(data)}`);
  if (data?.hello) break;
}

if (urls.length) {
  for await (const { event, url = "", status, error, ok } of client.fetch(urls)) {
    console.log([event, url, status ?? error ?? `${ok} ok`].join(" "));
  }
}
client.close();
