// A broadcast with the package ws: one send() a client, text, without compression.
const { WebSocketServer, WebSocket } = require("ws");
const dgram = require("node:dgram");
const http = require("node:http");

const port = Number(process.argv[2]);
const server = http.createServer();
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
const control = dgram.createSocket("udp4");
control.on("message", (data) => {
  const text = data.toString();
  for (const client of sockets.clients) if (client.readyState === WebSocket.OPEN) client.send(text);
});
control.bind(port, "127.0.0.1");
server.listen({ port, host: "127.0.0.1", backlog: 4096 }, () => console.log("ready"));
