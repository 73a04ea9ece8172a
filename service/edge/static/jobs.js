/** Jobs: the client's own by state, the newest first, and one that is followed, cancelled, and run again. */
import { addLine, ask as request } from "./bench.js";

const $ = (id) => document.getElementById(id);
const PAGE = 10;
const AGAIN = 5000; // ms between two looks at the list, while the page is seen
const TEXT = 400; // characters of a result or an error that are shown
const ENDED = ["done", "failed", "cancelled"];

/**
 * @param {() => import("./sluice.js").Sluice} client  the one of now
 * @param {() => string | undefined} token
 */
export function jobs(client, token) {
  const ask = asking(token);
  const followed = following(client, ask, () => list.refresh());
  const list = listing(ask, followed.open);
  setInterval(() => {
    followed.tick();
    list.tick();
  }, 1000);
  return {
    /** The connection is there, and the list may have changed meanwhile: once the token is known to be right. */
    opened: () => client().call("ping").then(list.refresh, () => {}),
    /** A new client has nothing of the old one. */
    connected() {
      followed.leave();
      list.reset();
    },
  };
}

/** Return a function that makes a request and returns the document of its answer. */
function asking(token) {
  return async (method, path, body) => {
    const answer = await request(path, token(), { method, body: body && JSON.stringify(body) });
    clock.set(answer.headers.get("Date"));
    return answer.json();
  };
}

/** The service's clock, by which jobs are due: this machine's may be another. */
const clock = {
  ahead: 0, // ms
  set(date) {
    const apart = Date.parse(date) - Date.now();
    if (Math.abs(apart) > 2000) this.ahead = apart; // the header has whole seconds
    else if (apart === apart) this.ahead = 0;
  },
  /** How long it is until then, as a clock shows it. */
  until(time) {
    const left = Math.ceil((Date.parse(time) - Date.now() - this.ahead) / 1000);
    if (!(left > 0)) return "now";
    const [days, hours, minutes, seconds] = [left / 86_400, (left / 3600) % 24, (left / 60) % 60, left % 60].map(Math.floor);
    const two = (number) => String(number).padStart(2, "0");
    if (days) return `in ${days} d ${hours} h`;
    return hours ? `in ${hours}:${two(minutes)}:${two(seconds)}` : `in ${minutes}:${two(seconds)}`;
  },
};

/** The list, a page at a time. */
function listing(ask, open) {
  let after; // of the page that is shown
  let next;
  let shown = [];
  let seen = 0; // when the list was asked for
  let allowed = true;
  const self = {
    async refresh() {
      seen = Date.now();
      const query = new URLSearchParams({ limit: PAGE, ...($("job-state").value && { state: $("job-state").value }), ...(after && { after }) });
      try {
        ({ jobs: shown, next } = await ask("GET", `jobs?${query}`));
        $("jobs-status").textContent = "";
      } catch (error) {
        [shown, next] = [[], null];
        allowed = error.status !== 403 && error.status !== 401;
        $("jobs-status").textContent = `no list: ${error.message}`;
      }
      rows(shown);
      $("jobs-newest").disabled = !after;
      $("jobs-older").disabled = !next;
    },
    reset() {
      after = undefined;
      allowed = true;
      seen = 0;
    },
    tick() {
      if (document.hidden) return;
      for (const [number, job] of shown.entries()) put($("job-list").rows[number].cells[3], when(job));
      if (allowed && seen && document.body.dataset.state === "open" && Date.now() - seen >= AGAIN) self.refresh();
    },
  };
  $("job-state").onchange = () => {
    after = undefined;
    self.refresh();
  };
  $("jobs-newest").onclick = () => {
    after = undefined;
    self.refresh();
  };
  $("jobs-older").onclick = () => {
    after = next;
    self.refresh();
  };
  $("job-list").onclick = ({ target }) => target.dataset.job && open(target.dataset.job);
  return self;
}

/** Write over the rows that are there, so that the focus and the reader's place stay. */
function rows(shown) {
  const body = $("job-list");
  while (body.rows.length > shown.length) body.deleteRow(-1);
  for (const [number, job] of shown.entries()) {
    const row = body.rows[number] ?? newRow(body);
    const button = row.querySelector("button");
    button.dataset.job = job.job;
    put(button, `${job.job.slice(0, 10)}…`);
    row.className = job.state === "failed" ? "bad" : "";
    for (const [column, text] of [job.kind, job.state, when(job)].entries()) put(row.cells[column + 1], text);
  }
  $("jobs-none").hidden = shown.length > 0;
}

function newRow(body) {
  const row = body.insertRow();
  for (let column = 0; column < 4; column++) row.insertCell();
  row.cells[0].append(Object.assign(document.createElement("button"), { type: "button", className: "plain" }));
  return row;
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const when = ({ state, due, ended }) => (state === "scheduled" ? clock.until(due) : state === "running" ? "–" : time(ended ?? due));
const time = (text) => new Date(text).toLocaleString("en-GB", { dateStyle: "short", timeStyle: "medium" });
const short = (text) => (text.length > TEXT ? `${text.slice(0, TEXT)}…` : text);

/** The job that is followed. */
function following(client, ask, changed) {
  let job;
  let events;
  const self = {
    tick() {
      put($("job-due"), job?.state === "scheduled" ? `due ${clock.until(job.due)}` : "");
    },
    leave() {
      events?.return();
      job = events = undefined;
      $("job-cancel").disabled = $("job-again").disabled = true;
    },
    async open(id) {
      self.leave();
      $("job").value = id;
      clear();
      const mine = (job = client().followJob(id));
      events = mine[Symbol.asyncIterator]();
      try {
        await about(mine);
        for await (const event of events) if (job === mine) take(mine, event);
        if (job === mine) await about(mine);
      } catch (error) {
        if (job !== mine) return;
        put($("follow-status"), error.message);
        $("job-cancel").disabled = true;
      }
    },
  };

  /** What only the document of a job says: what it is, and what its attempt has printed. */
  async function about(mine) {
    const { kind, output, run } = await ask("GET", `jobs/${encodeURIComponent(mine.id)}`);
    if (job !== mine) return;
    put($("job-title"), run > 1 ? `${kind}, run ${run}` : kind);
    put($("job-output"), output ?? "");
    $("job-printed").hidden = !output;
  }

  function take(mine, event) {
    if (event.event === "progress") measure(event);
    line(event);
    self.tick();
    if (!event.event) return;
    put($("follow-status"), mine.state);
    const ended = ENDED.includes(event.event);
    $("job-cancel").disabled = ended;
    $("job-again").disabled = !ended || event.event === "done";
    if (ended || event.event === "queued") changed();
  }

  $("follow").onsubmit = (submit) => {
    submit.preventDefault();
    self.open($("job").value.trim());
  };
  $("job-cancel").onclick = () => {
    $("job-cancel").disabled = true;
    job.cancel().catch((error) => put($("follow-status"), error.message));
  };
  $("job-again").onclick = async () => {
    $("job-again").disabled = true;
    const { id } = job;
    try {
      await ask("PATCH", `jobs/${encodeURIComponent(id)}`, { delay: 0 });
      self.open(id);
    } catch (error) {
      put($("follow-status"), error.message);
    }
  };
  return self;
}

function clear() {
  $("job-events").replaceChildren();
  for (const id of ["job-title", "follow-status", "job-due", "job-progress-label"]) put($(id), "");
  $("job-progress").hidden = $("job-printed").hidden = true;
}

function measure({ done, total, message = "" }) {
  if (typeof done !== "number") return;
  $("job-progress").hidden = !(total > 0);
  if (total > 0) Object.assign($("job-progress"), { max: total, value: Math.min(done, total) });
  put($("job-progress-label"), `${done}${total ? ` of ${total}` : ""} ${message}`);
}

/** Add the line of an event; progress takes the place of the progress before it. */
function line(item) {
  const [kind, text] = said(item);
  const list = $("job-events");
  if (item.event === "progress" && list.firstChild?.dataset.event === "progress") list.firstChild.remove();
  addLine(list, kind, item.event ?? "gap", short(text)).dataset.event = item.event ?? "gap";
}

function said({ event, gap, ...item }) {
  if (gap) return ["notice gap", `events ${gap.from} to ${gap.to} are gone`];
  switch (event) {
    case "queued": return ["", `due ${time(item.due)}${item.run > 1 ? `, run ${item.run}` : ""}`];
    case "started": return ["", `attempt ${item.attempt}, ${item.worker}`];
    case "progress": return ["", "data" in item ? JSON.stringify(item.data) : `${item.done ?? ""} of ${item.total ?? "?"} ${item.message ?? ""}`];
    case "retry": return ["notice", `${item.error}: ${item.detail}; again ${time(item.at)}`];
    case "rescheduled": return ["", `due ${time(item.due)}`];
    case "done": return ["", JSON.stringify(item.result)];
    case "failed": return ["notice gap", `${item.error}: ${item.detail}`];
    default: return ["", Object.keys(item).length ? JSON.stringify(item) : ""];
  }
}
