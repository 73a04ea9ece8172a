/** The page: its connection, and the service's figures. All text from outside enters as text. */
import { legend } from "./places.js";
import { Plot, shown } from "./plot.js";
import { Sluice } from "./sluice.js";
import { bench } from "./bench.js";
import { jobs } from "./jobs.js";
import { fill } from "./table.js";

const $ = (id) => document.getElementById(id);
const BEFORE_TRYING = 200; // ms that a cut is not worth a word

const plots = {
  connections: new Plot($("plots"), "connections", "Connections", ""),
  deliveries: new Plot($("plots"), "deliveries", "Deliveries a second", ""),
  fetches: new Plot($("plots"), "fetches", "Fetches a second", ""),
  loop_lag_ms: new Plot($("plots"), "lag", "Loop lag", " ms"),
  rss_mib: new Plot($("plots"), "memory", "Memory", " MiB"),
};

let showing;

/** What the state of the connection is called; only what lasts is shown. */
function state({ state, code, reason, after }) {
  clearTimeout(showing);
  const text = {
    connecting: "connecting",
    open: "connected",
    closing: `the service is going away: ${reason}`,
    waiting: `connection lost (${[code, reason].filter(Boolean).join(", ")}), back in ${shown(after ?? 0)} s`,
    closed: reason,
  }[state];
  document.body.dataset.state = state;
  if (state === "open") for (const part of parts) part.opened();
  const show = () => ($("state").textContent = text);
  if (state === "connecting" || (state === "waiting" && after < 1)) showing = setTimeout(show, BEFORE_TRYING);
  else show();
  if (code === 4401 || (state === "closed" && !code)) askForToken(reason); // or no header can carry it
}

function askForToken(reason) {
  const wrong = reason === "token expired" ? reason : "the token is not valid";
  $("state").textContent = token ? wrong : "a token is needed";
  $("login").hidden = false;
  $("token").value = "";
  $("token").focus();
}

let token;
let client;
const parts = [bench, jobs].map((part) => part(() => client, () => token));

function connect() {
  client = new Sluice(new URL(".", location.href), { token, onState: state });
  figures(client);
  for (const part of parts) part.connected();
}

$("login").onsubmit = (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("login").hidden = true;
  connect();
};

async function figures(client) {
  let before;
  try {
    for await (const { data, gap, restart } of client.subscribe("_stats", { onLag: "latest" })) {
      if (restart) {
        before = undefined;
        for (const plot of Object.values(plots)) plot.clear();
      }
      if (gap || restart) continue;
      plot(data, before);
      tables(data);
      before = data;
    }
  } catch (error) {
    if (document.body.dataset.state !== "closed") $("state").textContent = `no figures: ${error.message}`;
  }
}

function plot(data, before) {
  plots.connections.add(data.connections);
  plots.loop_lag_ms.add(data.loop_lag_ms);
  plots.rss_mib.add(data.rss_mib);
  const seconds = data.uptime - before?.uptime;
  if (!(seconds > 0)) return;
  plots.deliveries.add((data.deliveries - before.deliveries) / seconds);
  plots.fetches.add((data.fetched + data.failed - before.fetched - before.failed) / seconds);
}

function tables({ busiest, running, watched, stages }) {
  fill($("busiest"), busiest, (one) => [one.topic, one.readers, one.published, one.deliveries]);
  fill($("running"), running, (one) => [one.batch, one.ok + one.failed, one.failed, one.total, one.time_ms]);
  fill($("watched"), watched, (one) => [one.url, one.every ?? "–", one.watchers]);
  fill($("stages"), stages, (one) => [`${one.pipeline} ${one.stage}`, one.waiting, one.running, one.per_second, one.ms ?? "–"]);
}

legend($("places"));
connect();
