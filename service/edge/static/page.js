// The page is a client like any other: JSON-RPC 2.0 over one WebSocket, resumed by position after a cut.
const $ = (id) => document.getElementById(id);
const waiting = new Map();
const positions = new Map();
let socket, next = 0, delay = 250, room = null, batch = null, token = "";

function call(method, params) {
  const id = ++next;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }));
  });
}

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`,
    token ? ["sluice.v1", `bearer.${token}`] : "sluice.v1");
  socket.onopen = async () => {
    delay = 250;
    $("state").textContent = "connected";
    await subscribe("_stats", "newest");
    if (room) await subscribe(room, positions.get(room) ?? "newest");
    if (batch) await subscribe(batch.topic, positions.get(batch.topic) ?? "oldest");
  };
  socket.onclose = (event) => {
    if (event.code === 4401) {
      $("state").textContent = token ? "the token is not valid" : "a token is needed";
      $("login").hidden = false;
      $("token").focus();
      return;
    }
    $("state").textContent = `connection lost (${event.code}${event.reason ? ", " + event.reason : ""}); trying again…`;
    for (const { reject } of waiting.values()) reject(new Error("connection lost"));
    waiting.clear();
    setTimeout(connect, delay * (0.5 + Math.random()));
    delay = Math.min(delay * 2, 10000);
  };
  socket.onmessage = (event) => receive(JSON.parse(event.data));
}

async function subscribe(topic, since) {
  try {
    const start = await call("subscribe", { topic, since });
    positions.set(topic, { epoch: start.epoch, offset: start.offset });
  } catch (error) { if (topic !== "_stats") say(error.message); }
}

function receive(message) {
  if (message.id !== undefined && message.id !== null) {
    const call = waiting.get(message.id);
    waiting.delete(message.id);
    if (message.error) call?.reject(new Error(message.error.message)); else call?.resolve(message.result);
    return;
  }
  const { topic, offset, data, from, to, reason } = message.params ?? {};
  if (message.method === "gap") { say(`${topic}: messages ${from} to ${to} are gone`); moveTo(topic, to); }
  else if (message.method === "closing") $("state").textContent = `the service is going away: ${reason}`;
  else if (message.method === "message") {
    moveTo(topic, offset);
    if (topic === "_stats") figures(data);
    else if (topic === batch?.topic) outcome(data);
    else say(JSON.stringify(data), offset);
  }
}

function moveTo(topic, offset) { const at = positions.get(topic); if (at) at.offset = offset; }

function say(text, offset) {
  const item = document.createElement("li");
  item.textContent = text;
  if (offset) item.value = offset;
  $("messages").append(item);
  while ($("messages").children.length > 200) $("messages").firstChild.remove();
  item.scrollIntoView({ block: "nearest" });
}

function figures(data) {
  $("figures").replaceChildren(...Object.entries(data).filter(([, value]) => typeof value === "number").map(([name, value]) => {
    const box = document.createElement("div"), term = document.createElement("dt"), number = document.createElement("dd");
    term.textContent = name.replaceAll("_", " ");
    number.textContent = value.toLocaleString("en");
    box.append(term, number);
    return box;
  }));
}

function outcome(event) {
  if (event.event === "done") {
    $("progress-text").textContent = `done: ${event.ok} fetched, ${event.failed} failed, ${event.elapsed_ms} ms`;
    $("progress").value = $("progress").max;
    $("cancel").disabled = true;
    batch = null;
    return;
  }
  batch.finished += 1;
  $("progress").value = batch.finished;
  $("progress-text").textContent = `${batch.finished} of ${batch.total}`;
  if ($("results").children.length >= 500) return;
  const row = document.createElement("tr");
  const cells = [event.index, event.url, event.event === "result" ? event.status : `${event.error}: ${event.detail}`, event.truncated ? `${event.bytes}+` : event.bytes ?? "", event.timing?.total ?? ""];
  for (const text of cells) row.append(Object.assign(document.createElement("td"), { textContent: text }));
  $("results").append(row);
}

$("fetch").onsubmit = async (event) => {
  event.preventDefault();
  const urls = $("urls").value.split("\n").map((line) => line.trim()).filter(Boolean);
  $("results").replaceChildren();
  try {
    const started = await call("fetch", { urls, options: { max_bytes: 65536 } });
    batch = { ...started, finished: 0 };
    positions.set(batch.topic, { epoch: batch.epoch, offset: 0 });
    $("progress").max = batch.total;
    $("cancel").disabled = false;
  } catch (error) { $("progress-text").textContent = error.message; }
};
$("cancel").onclick = () => batch && call("cancel", { batch: batch.batch });
$("open").onsubmit = async (event) => {
  event.preventDefault();
  if (room) await call("unsubscribe", { topic: room });
  room = $("topic").value;
  $("messages").replaceChildren();
  await subscribe(room, "oldest");
  $("send").disabled = false;
};
$("publish").onsubmit = async (event) => {
  event.preventDefault();
  let data = $("message").value;
  try { data = JSON.parse(data); } catch { /* plain text is published as a string */ }
  try { await call("publish", { topic: room, data }); $("message").value = ""; } catch (error) { say(error.message); }
};
$("login").onsubmit = (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("login").hidden = true;
  connect();
};
connect();
