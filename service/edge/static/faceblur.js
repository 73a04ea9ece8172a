/** Sends the camera, a video or a picture through the pipeline `faceblur`; shows both pictures, and the figures. */
import { Plot } from "./plot.js";
import { Sluice } from "./sluice.js";
import { fill } from "./table.js";

const $ = (id) => document.getElementById(id);
const NAME = "faceblur";
const RATE = 15; // frames of the source a second
const UNDER_WAY = 8; // frames that are sent and not back: the socket itself would take any number
const WIDTH = 640; // of the pictures that are sent
const QUALITY = 0.85;
const SWAY = 0.02; // of its width, that a still picture moves
const BASE = new URL("..", location.href);
const MISSING = "The service has no pipeline faceblur: install the extra with pip install 'sluice[vision]', and start it again.";
const LINES = `faceblur.${crypto.getRandomValues(new Uint32Array(2)).join("")}`; // the topic that gets a line for each frame

const rate = new Plot($("plots"), "rate", "Frames a second", "");
const took = new Plot($("plots"), "took", "From sent to back", " ms");
const faces = new Plot($("plots"), "faces", "Faces", "");

let token;
let client;
let run;
let lastFaces; // in the newest frame

const note = (text) => ($("run").textContent = text);

/** The connection for the figures; the frames have one of their own. */
function connect() {
  client?.close();
  client = new Sluice(BASE, {
    token,
    onState: ({ state, code, reason }) => {
      document.body.dataset.state = state;
      if (code === 4401) return askForToken();
      $("state").textContent = { open: "connected", waiting: "connection lost, trying again" }[state] ?? reason ?? state;
    },
  });
  follow("_stats", { onLag: "latest" }, ({ stages }) => stagesAre(stages));
  follow(LINES, { onLag: "latest" }, (line) => (lastFaces = line.faces ?? 0));
}

async function follow(topic, options, show) {
  try {
    for await (const { data, gap, restart } of client.subscribe(topic, options)) if (!gap && !restart) show(data);
  } catch (error) {
    if (document.body.dataset.state === "open") $("state").textContent = `no figures: ${error.message}`;
  }
}

function stagesAre(stages) {
  const ours = stages.filter((one) => one.pipeline === NAME);
  fill($("stages"), ours, (one) => [one.stage, one.waiting, one.running, one.per_second, one.ms ?? "–"]);
}

function askForToken() {
  $("state").textContent = token ? "the token is not valid" : "a token is needed";
  $("login").hidden = false;
  $("token").value = "";
  $("token").focus();
}

$("login").onsubmit = (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("login").hidden = true;
  connect();
};

/** Frames of one source on their way through the pipeline, and back. */
class Run {
  counts = { sent: 0, back: 0, dropped: 0, failed: 0, skipped: 0 };
  #source;
  #socket;
  #sent = []; // when each frame was sent that is under way
  #shown = Promise.resolve(); // what came is shown in the order in which it came
  #timers = [];
  #before = 0; // frames that were back a second ago
  #took = 0;
  #opened = false;

  /** @param {{draw: () => boolean, release: () => void}} source  `draw` returns whether there is another frame */
  constructor(source) {
    this.#source = source;
    const url = new URL(`pipelines/${NAME}?full=drop_oldest&to=${LINES}`, BASE);
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new WebSocket(url, token ? ["sluice.v1", `bearer.${token}`] : ["sluice.v1"]);
    this.#socket.binaryType = "blob";
    this.#socket.onopen = () => this.#begin();
    this.#socket.onmessage = ({ data }) => {
      this.#shown = this.#shown.then(() => this.#take(data)).catch((error) => note(`what came back cannot be shown: ${error.message}`));
    };
    this.#socket.onclose = (event) => this.#shown.then(() => this.#closed(event));
    $("stop").disabled = false;
    this.#count();
    note("Connecting.");
  }

  #begin() {
    this.#opened = true;
    note("Running.");
    this.#timers = [setInterval(() => this.#tick(), 1000)];
    this.#next();
  }

  /** Send a frame, if fewer than this many are under way, and come back for the next. */
  async #next() {
    const begun = performance.now();
    const more = this.#source.draw();
    if (this.#sent.length >= UNDER_WAY) {
      this.counts.skipped += 1;
    } else {
      const frame = await new Promise((resolve) => $("before").toBlob(resolve, "image/jpeg", QUALITY));
      if (this.#socket.readyState !== WebSocket.OPEN) return;
      this.#socket.send(frame);
      this.#sent.push(performance.now());
      this.counts.sent += 1;
    }
    if (more) this.#timers[1] = setTimeout(() => this.#next(), 1000 / RATE - (performance.now() - begun));
    else this.#socket.send(JSON.stringify({ event: "end" }));
  }

  async #take(data) {
    if (data instanceof Blob) {
      this.counts.back += 1;
      this.#took = performance.now() - this.#sent[0];
      const picture = await createImageBitmap(data).finally(() => this.#sent.shift());
      draw($("after"), picture, picture.width, picture.height);
      picture.close();
      return;
    }
    const event = JSON.parse(data);
    if (event.event === "dropped") {
      this.counts.dropped += event.count;
      this.#sent.splice(0, event.count);
    } else if (event.event === "failed") {
      this.counts.failed += 1;
      this.#sent.shift();
      note(`a frame failed: ${event.detail}`);
    } else if (event.event !== "closing") {
      note(event.detail);
    }
  }

  #tick() {
    rate.add(this.counts.back - this.#before);
    this.#before = this.counts.back;
    took.add(Math.round(this.#took));
    if (lastFaces !== undefined) faces.add(lastFaces);
    this.#count();
  }

  #count() {
    const { sent, back, dropped, failed, skipped } = this.counts;
    const rows = { Sent: sent, "Came back": back, "Dropped by the service": dropped, Failed: failed,
      [`Not sent, since ${UNDER_WAY} were under way`]: skipped };
    fill($("frames"), Object.entries(rows), (row) => row);
  }

  async #closed({ code, reason }) {
    this.#end();
    if (code === 4401) askForToken();
    if (code === 1000) note("All frames are back.");
    else if (this.#opened) note(`The connection was closed (${[code, reason].filter(Boolean).join(", ")}). Choose again to go on.`);
    else note(await whyRefused());
  }

  /** End it from here. */
  stop() {
    this.#socket.onclose = null;
    this.#socket.close();
    this.#end();
    note("Stopped.");
  }

  #end() {
    clearInterval(this.#timers[0]);
    clearTimeout(this.#timers[1]);
    this.#count();
    this.#source.release();
    if (run === this) {
      run = undefined;
      $("stop").disabled = true;
    }
  }
}

/** Browsers keep the answer to a WebSocket's handshake to themselves: ask for what may be wrong. */
async function whyRefused() {
  try {
    const answer = await fetch(new URL("pipelines", BASE), token ? { headers: { Authorization: `Bearer ${token}` } } : {});
    if (!answer.ok) return `Refused: ${(await answer.json()).detail}`;
    const { pipelines } = await answer.json();
    if (!pipelines.some((one) => one.name === NAME)) return MISSING;
    return `The service refused the connection: too many clients have one, or the token lacks fetch or publish for faceblur.*.`;
  } catch {
    return "The service cannot be reached. Choose again when it is back.";
  }
}

/** Draw a picture over all of a canvas; parts of its size are shifted aside, and cut off all around. */
function draw(canvas, source, width, height, aside = 0, cut = 0) {
  const across = Math.min(WIDTH, width);
  const down = Math.max(1, Math.round((across * height) / width));
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  canvas.getContext("2d").drawImage(source, (aside - cut) * across, -cut * down, (1 + 2 * cut) * across, (1 + 2 * cut) * down);
}

function start(source) {
  run?.stop();
  lastFaces = undefined;
  run = new Run(source);
}

/** Send the pictures of a video; `release` is called in any case: when it has ended, or cannot begin. */
async function play(video, release) {
  video.muted = video.playsInline = true;
  const show = () => {
    draw($("before"), video, video.videoWidth, video.videoHeight);
    return !video.ended;
  };
  const end = () => {
    video.pause();
    release();
  };
  try {
    await video.play();
    if (!video.videoWidth) throw new Error("the video has no pictures");
    start({ draw: show, release: end });
  } catch (error) {
    release();
    throw error;
  }
}

/** Send a picture again and again; it moves a little, so that one sees the frames. */
async function hold(blob) {
  const picture = await createImageBitmap(blob);
  const show = () => {
    draw($("before"), picture, picture.width, picture.height, SWAY * Math.sin(performance.now() / 500), SWAY);
    return true;
  };
  start({ draw: show, release: () => picture.close() });
}

/** Carry out what a button asks for; what fails is shown. */
async function attempt(what, begin) {
  run?.stop();
  try {
    await begin();
  } catch (error) {
    note(`${what} cannot be used: ${error.message}`);
  }
}

$("camera").onclick = () =>
  attempt("The camera", async () => {
    if (!navigator.mediaDevices) throw new Error("browsers give it to pages from https: or localhost only");
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: WIDTH } });
    const tracks = stream.getTracks();
    for (const track of tracks) track.onended = () => run?.stop(); // unplugged, or no longer allowed
    const video = Object.assign(document.createElement("video"), { srcObject: stream });
    await play(video, () => tracks.forEach((track) => track.stop()));
  });

$("photograph").onclick = () =>
  attempt("The photograph", async () => {
    const answer = await fetch("astronaut.png");
    if (!answer.ok) throw new Error("it comes with scikit-image (pip install scikit-image), which the service does not have");
    await hold(await answer.blob());
  });

$("choose").onclick = () => $("file").click();

$("file").onchange = ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  attempt(file.name, async () => {
    if (!file.type.startsWith("video/")) return hold(file);
    const url = URL.createObjectURL(file);
    const video = Object.assign(document.createElement("video"), { src: url });
    return play(video, () => URL.revokeObjectURL(url));
  });
  target.value = ""; // the same file may be chosen again
};

$("stop").onclick = () => run?.stop();

connect();
