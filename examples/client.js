// Subscribe to a topic; after a cut, come back to where it was. For browsers, and for Node with a global WebSocket.
function follow(url, topic, onMessage, since = "newest", delay = 500) {
  const socket = new WebSocket(url, "sluice.v1");
  socket.onopen = () =>
    socket.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "subscribe", params: { topic, since } }));
  socket.onmessage = ({ data }) => {
    const { result, error, method, params } = JSON.parse(data);
    if (error) throw new Error(error.message);
    if (result) since = { epoch: result.epoch, offset: result.offset };
    if (method === "gap") since.offset = params.to;
    if (method === "message") {
      since.offset = params.offset;
      onMessage(params.data, params.offset);
    }
  };
  socket.onclose = () =>
    setTimeout(() => follow(url, topic, onMessage, since, Math.min(delay * 2, 30000)), delay * Math.random());
}
