// node servers.cjs KIND MODULES DROP: a server of one kind that leaves out one delivery of message DROP (0: none).
"use strict";
const http = require("http");
const path = require("path");
const { createRequire } = require("module");

const [kind, modules, dropText] = process.argv.slice(2);
const from = createRequire(path.join(modules, "package.json"));
let drop = Number(dropText);

function left_out(text) {
  if (!drop || !new RegExp(`\\\\?"n\\\\?":${drop},`).test(text)) return false;
  drop = 0;
  return true;
}

function socketio(server) {
  const { Server } = from("socket.io");
  const io = new Server(server, { transports: ["websocket"] });
  io.on("connection", (socket) => {
    socket.on("join", (room, done) => { socket.join(room); done("joined"); });
    socket.on("message", (room, data) => {
      for (const id of io.sockets.adapter.rooms.get(room) || []) {
        if (!left_out(JSON.stringify(data))) io.sockets.sockets.get(id).emit("message", room, data);
      }
    });
  });
}

function recovering(server) {
  const { Server } = from("socket.io");
  const io = new Server(server, { transports: ["websocket"], connectionStateRecovery: { maxDisconnectionDuration: 60000 } });
  io.use((socket, next) => next(socket.handshake.auth.token === "s3cret" ? undefined : new Error("who are you?")));
  io.on("connection", (socket) => {
    socket.on("join", (room, done) => { socket.join(room); done("joined"); });
    socket.on("message", (room, data) => io.to(room).emit("message", data));
  });
}

function graphql(server) {
  const { GraphQLObjectType: Type, GraphQLSchema, GraphQLString: Text, GraphQLBoolean: Flag } = from("graphql");
  const { useServer } = from("graphql-ws/use/ws");
  const { WebSocketServer } = from("ws");
  const readers = new Map();
  async function* listen(topic) {
    const queue = [];
    const reader = { push(text) { queue.push(text); this.wake?.(); } };
    if (!readers.has(topic)) readers.set(topic, new Set());
    readers.get(topic).add(reader);
    try {
      for (;;) {
        while (queue.length) yield { message: queue.shift() };
        await new Promise((done) => { reader.wake = done; });
      }
    } finally { readers.get(topic).delete(reader); }
  }
  const topic = { topic: { type: Text } };
  const schema = new GraphQLSchema({
    query: new Type({ name: "Query", fields: { ok: { type: Flag } } }),
    mutation: new Type({ name: "Mutation", fields: { publish: { type: Flag, args: { ...topic, data: { type: Text } },
      resolve(_, given) {
        for (const reader of readers.get(given.topic) || []) if (!left_out(given.data)) reader.push(given.data);
        return true;
      } } } }),
    subscription: new Type({ name: "Subscription", fields: { message: { type: Text, args: topic,
      subscribe(_, given) {
        const stream = listen(given.topic);
        // Begun at once, or what is published before the first is asked for would be missed.
        const first = stream.next();
        let begun = false;
        return { next() { if (begun) return stream.next(); begun = true; return first; },
                 return(value) { return stream.return(value); }, [Symbol.asyncIterator]() { return this; } };
      } } } }),
  });
  useServer({ schema }, new WebSocketServer({ server, path: "/graphql" }));
}

function stomp(server) {
  const StompServer = from("stomp-broker-js");
  const WebSocket = createRequire(from.resolve("stomp-broker-js"))("ws");
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text, ...more) {
    const frame = String(text);
    if (frame.startsWith("MESSAGE") && left_out(frame)) return;
    send.call(this, text, ...more);
  };
  new StompServer({ server, path: "/ws", heartbeat: [0, 0], debug() {} });
}

const server = http.createServer();
({ socketio, recovering, graphql, stomp })[kind](server);
server.listen(0, "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
process.on("SIGTERM", () => process.exit(0));
