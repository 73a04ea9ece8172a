// Receives so many messages, with the client or with ws alone: node clients.mjs MODULE|bare COUNT URL.
import { createRequire } from "node:module";

const [module, count, url] = process.argv.slice(2);
const WebSocket = createRequire(import.meta.url)("ws");

async function client() {
  const { Sluice } = await import(module);
  const client = new Sluice(url, { WebSocket });
  for await (const { offset } of client.subscribe("t", { since: "oldest" })) if (offset === Number(count)) break;
  client.close();
}

function bare() {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${url}/ws`.replace("http", "ws"), ["sluice.v1"]);
    socket.onopen = () => socket.send('{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"topic":"t"}}');
    socket.onmessage = ({ data }) => {
      if (JSON.parse(data).params?.offset !== Number(count)) return;
      socket.close();
      resolve();
    };
  });
}

const begun = process.cpuUsage();
await (module === "bare" ? bare() : client());
const { user, system } = process.cpuUsage(begun);
console.log(`cpu ${(user + system) / 1e6} ${process.memoryUsage.rss() / 2 ** 20}`);
