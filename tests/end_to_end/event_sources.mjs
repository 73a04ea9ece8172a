// Reads a topic with every EventSource of npm: node event_sources.mjs PACKAGES URL...; tells each event as a JSON line.
import { createRequire } from "node:module";

const [packages, ...urls] = process.argv.slice(2);
const require = createRequire(`${packages}/`);
const KINDS = {
  "event-source-polyfill": (found) => found.EventSourcePolyfill,
  "eventsource-1": (found) => found,
  "eventsource-2": (found) => found,
  "eventsource-3": (found) => found.EventSource,
  "eventsource": (found) => found.EventSource,
};

for (const url of urls) {
  const kinds = Object.entries(KINDS).map(([name, find]) => [name, find(require(name))]);
  if (globalThis.EventSource) kinds.push(["Node", globalThis.EventSource]);
  for (const [name, EventSource] of kinds) {
    const say = (fields) => console.log(JSON.stringify({ name, url, ...fields }));
    const reader = new EventSource(url);
    for (const type of ["start", "message", "gap"])
      reader.addEventListener(type, ({ data, lastEventId }) => say({ type, id: lastEventId, data: JSON.parse(data) }));
    reader.onerror = () => reader.readyState === 2 && say({ type: "gave up" });
  }
}
