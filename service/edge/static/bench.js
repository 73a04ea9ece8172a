/** Things to try: a batch of URLs, a watch, a topic with its cuts. */
import { bar, legend } from "./places.js";

const $ = (id) => document.getElementById(id);
const ROWS = 500;
const LINES = 200;
const BODY = 200; // characters of a body that are shown
const CUT = 2; // seconds

/**
 * @param {() => import("./sluice.js").Sluice} client  the one of now
 * @param {() => string | undefined} token
 */
export function bench(client, token) {
  batches(client, token);
  const watches = loop("watch", "unwatch", "watch-status", "changes");
  watches.start = () => {
    const select = $("select").value.trim() || undefined;
    return client().watch($("watch-url").value.trim(), { every: Number($("every").value), select });
  };
  watches.show = (event) => [new Date(event.checked_at ?? Date.now()).toLocaleTimeString("en-GB"), change(event)];

  const topics = loop("open", "leave", "topic-status", "messages");
  topics.start = () => client().subscribe($("topic").value, { since: $("since").value });
  topics.show = ({ offset, data }) => [offset, JSON.stringify(data)];
  topics.changed = (topic) => {
    $("send").disabled = $("cut-button").disabled = !topic;
  };
  publishing(client, token, topics);
  return {
    /** The connection is there, and what was missed comes next. */
    opened() {
      topics.back?.();
      topics.back = undefined;
    },
    /** A new client has nothing of the old one. */
    connected() {
      watches.stop();
      topics.stop();
    },
  };
}

function batches(client, token) {
  let events;
  $("fetch").onsubmit = async (submit) => {
    submit.preventDefault();
    const urls = $("urls").value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (!urls.length) return;
    await events?.return();
    const mine = (events = client().fetch(urls, { max_bytes: 65_536 }));
    $("results").replaceChildren();
    $("time").hidden = true;
    Object.assign($("progress"), { max: urls.length, value: 0 });
    $("fetch-status").textContent = `fetching ${urls.length} URLs`;
    $("cancel").disabled = false;
    try {
      for await (const event of mine) outcome(event, urls.length);
      const batch = await (await ask(`batches/${(await mine.started).batch}`, token())).json();
      if (events === mine) spent(batch.time_ms);
    } catch (error) {
      $("fetch-status").textContent = error.message;
    }
    if (events === mine) $("cancel").disabled = true;
  };
  $("cancel").onclick = () => {
    $("cancel").disabled = true;
    events.cancel().catch((error) => ($("fetch-status").textContent = error.message));
  };
}

/** Show where the time of a batch went. */
function spent(times) {
  const [image, list] = $("time").children;
  bar(image, times);
  legend(list, times);
  $("time").hidden = false;
}

function outcome(event, total) {
  if (event.event === "done") {
    $("fetch-status").textContent = `done: ${event.ok} fetched, ${event.failed} failed, ${event.elapsed_ms} ms`;
    return;
  }
  if (event.event !== "result" && event.event !== "failed") return;
  $("progress").value += 1;
  $("progress-label").textContent = `${$("progress").value} of ${total}`;
  if ($("results").rows.length === ROWS) {
    $("progress-label").textContent += `, the first ${ROWS} shown`;
    return;
  }
  const failed = event.event === "failed";
  const row = $("results").insertRow();
  row.className = failed || event.status >= 400 ? "bad" : "";
  const result = failed ? `${event.error}: ${event.detail}` : event.status;
  const bytes = event.truncated ? `${event.bytes}+` : event.bytes;
  for (const text of [event.index, event.url, result, bytes, event.timing?.total, event.cache]) {
    row.insertCell().textContent = text ?? "";
  }
}

/** Add a line on top of a list, which keeps the newest, and return it. */
export function addLine(list, kind, mark, text) {
  const line = Object.assign(document.createElement("li"), { className: kind });
  for (const value of [mark, text]) line.append(Object.assign(document.createElement("span"), { textContent: value }));
  list.prepend(line);
  while (list.children.length > LINES) list.lastChild.remove();
  return line;
}

/** A form that begins a stream and a button that ends it; what comes is listed line by line, the newest first. */
function loop(form, button, status, list) {
  let stream;
  const self = {
    get running() {
      return stream;
    },
    stop() {
      stream?.return();
      stream = undefined;
      $(button).disabled = true;
      self.changed?.(undefined);
    },
    add(kind, mark, text) {
      addLine($(list), kind, mark, text);
    },
  };
  const take = (item) => {
    if (item.gap) self.add("notice gap", "gap", `${item.gap.from} to ${item.gap.to} are gone`);
    else if (item.restart) self.add("notice", "restart", "the position is lost: another topic begins");
    else self.add("", ...self.show(item));
  };
  $(form).onsubmit = async (submit) => {
    submit.preventDefault();
    self.stop();
    $(list).replaceChildren();
    const mine = (stream = self.start());
    try {
      await mine.started;
      $(status).textContent = `reading ${mine.topic} from ${mine.position.offset + 1} on`;
      $(button).disabled = false;
      self.changed?.(mine.topic);
      for await (const item of mine) take(item);
    } catch (error) {
      if (stream !== mine) return;
      $(status).textContent = error.message;
      self.stop();
    }
  };
  $(button).onclick = () => {
    self.stop();
    $(status).textContent = "ended";
  };
  return self;
}

function change({ event, status, body, error, detail }) {
  if (event === "error") return `${error}: ${detail}`;
  if (event === "recovered") return event;
  return `${event}, ${status}: ${body.length > BODY ? `${body.slice(0, BODY)}…` : body}`;
}

function publishing(client, token, topics) {
  const failed = (error) => ($("topic-status").textContent = error.message);
  $("publish").onsubmit = async (submit) => {
    submit.preventDefault();
    try {
      await client().publish(topics.running.topic, value($("message").value));
      $("message").value = "";
    } catch (error) {
      failed(error);
    }
  };
  $("cut").onsubmit = async (submit) => {
    submit.preventDefault();
    const { topic, position } = topics.running;
    const count = Number($("meanwhile").value);
    client().reconnect(CUT);
    topics.back = () => topics.add("notice", "back", `after ${position.offset}`);
    topics.add("notice", "cut", `at ${position.offset}; ${count} are published meanwhile`);
    $("cut-button").disabled = true;
    try {
      for (let left = count; left > 0; left -= 20) await beside(topic, Math.min(left, 20), token());
      await client().call("ping");
    } catch (error) {
      failed(error);
    }
    $("cut-button").disabled = !topics.running;
  };
}

/** Publish without the connection that was cut, so many times at once. */
async function beside(topic, count, token) {
  const request = { method: "POST", body: JSON.stringify("published while you were away") };
  const path = `topics/${encodeURIComponent(topic)}`;
  await Promise.all(Array.from({ length: count }, () => ask(path, token, request)));
}

/** Make one request; if the service refuses it, throws an error with the service's detail and the `status`. */
export async function ask(path, token, request = {}) {
  const headers = { ...(request.body && { "Content-Type": "application/json" }), ...(token && { Authorization: `Bearer ${token}` }) };
  const answer = await fetch(path, { ...request, headers });
  if (answer.ok) return answer;
  const { detail } = await answer.json();
  throw Object.assign(new Error(detail ?? `status ${answer.status}`), { status: answer.status });
}

/** What is not JSON is published as text. */
function value(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
