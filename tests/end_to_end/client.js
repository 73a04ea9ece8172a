// A client written with the package ws: subscribes, publishes, drops its connection and resumes without a hole.
const WebSocket = require("ws");
const url = process.argv[2];

function open() {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, "sluice.v1", { perMessageDeflate: true });
    socket.inbox = [];
    socket.on("message", (data) => socket.inbox.push(JSON.parse(data)));
    socket.on("open", () => resolve(socket));
    socket.on("error", reject);
  });
}
let id = 0;
async function call(socket, method, params) {
  const mine = ++id;
  socket.send(JSON.stringify({ jsonrpc: "2.0", id: mine, method, params }));
  return (await until(socket, (message) => message.id === mine)).result;
}
async function until(socket, fits) {
  for (;;) {
    const at = socket.inbox.findIndex(fits);
    if (at >= 0) return socket.inbox.splice(at, 1)[0];
    await new Promise((resolve) => socket.once("message", resolve));
  }
}
(async () => {
  const reader = await open(), writer = await open();
  const start = await call(reader, "subscribe", { topic: "node" });
  const seen = [];
  for (let n = 1; n <= 5; n++) await call(writer, "publish", { topic: "node", data: n });
  for (let n = 1; n <= 5; n++) seen.push((await until(reader, (m) => m.method === "message")).params);
  reader.terminate();
  for (let n = 6; n <= 10; n++) await call(writer, "publish", { topic: "node", data: n });
  const again = await open();
  const resumed = await call(again, "subscribe", { topic: "node", since: { epoch: start.epoch, offset: 5 } });
  for (let n = 6; n <= 10; n++) seen.push((await until(again, (m) => m.method === "message")).params);
  console.log(JSON.stringify({ protocol: again.protocol, extensions: again.extensions, recovered: resumed.recovered,
    offsets: seen.map((m) => m.offset), data: seen.map((m) => m.data) }));
  again.close();
  writer.close();
})();
