// Sends the camera, a video or a photograph through the pipeline faceblur, and shows both pictures.

const element = (id) => document.getElementById(id);
const before = element("before");
const after = element("after");
const FRAMES_A_SECOND = 15;
const QUALITY = 0.85;
const MOST_WAITING = 8; // frames that are under way: the socket itself would take any number

let stop = () => {};

function draw(canvas, source, width, height) {
  canvas.width = Math.min(640, width);
  canvas.height = Math.round((canvas.width * height) / width);
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
}

function jpeg(canvas) {
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

/** Run frames through the pipeline until `stop`; `next` draws one and returns whether there may be another. */
function run(next, release) {
  stop();
  const address = new URL("/pipelines/faceblur?full=drop_oldest", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const socket = new WebSocket(address);
  socket.binaryType = "blob";
  const seen = { sent: 0, back: 0, dropped: 0, failed: 0, ms: 0 };
  const sentAt = [];
  let timer;

  const show = (text = "") => {
    const figures = `${seen.sent} sent, ${seen.back} back, ${seen.dropped} dropped, ${seen.failed} failed`;
    element("figures").textContent = `${figures}; the last took ${seen.ms} ms. ${text}`;
  };
  const send = async () => {
    const more = next();
    const frame = await jpeg(before);
    if (socket.readyState !== WebSocket.OPEN) return;
    if (sentAt.length < MOST_WAITING) {
      socket.send(frame);
      sentAt.push(performance.now());
      seen.sent += 1;
    }
    if (more) timer = setTimeout(send, 1000 / FRAMES_A_SECOND);
    else socket.send(JSON.stringify({ event: "end" }));
  };
  const done = () => {
    seen.ms = Math.round(performance.now() - sentAt.shift());
  };

  socket.onopen = send;
  socket.onmessage = async ({ data }) => {
    if (data instanceof Blob) {
      seen.back += 1;
      done();
      const picture = await createImageBitmap(data);
      draw(after, picture, picture.width, picture.height);
      picture.close();
      show();
      return;
    }
    const event = JSON.parse(data);
    if (event.event === "dropped") {
      seen.dropped += event.count;
      sentAt.splice(0, event.count);
    } else if (event.event === "failed") {
      seen.failed += 1;
      done();
      show(event.detail);
    }
  };
  socket.onclose = ({ code }) => {
    const missing = "Is the extra vision installed (pip install 'sluice[vision]'), and may you fetch?";
    show(code === 1000 ? "Done." : code === 1006 && !seen.sent ? missing : `Closed (${code}).`);
    stop();
  };
  stop = () => {
    clearTimeout(timer);
    socket.close();
    release();
    element("stop").disabled = true;
    stop = () => {};
  };
  element("stop").disabled = false;
}

async function play(video, release) {
  video.muted = true;
  await video.play();
  run(() => {
    draw(before, video, video.videoWidth, video.videoHeight);
    return !video.ended;
  }, release);
}

element("camera").onclick = async () => {
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 } });
    const video = document.createElement("video");
    video.srcObject = stream;
    await play(video, () => stream.getTracks().forEach((track) => track.stop()));
  } catch (error) {
    element("figures").textContent = `The camera cannot be used: ${error.message}`;
  }
};

element("file").onchange = async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  if (file.type.startsWith("video/")) {
    const video = document.createElement("video");
    video.src = URL.createObjectURL(file);
    await play(video, () => URL.revokeObjectURL(video.src));
    return;
  }
  const picture = await createImageBitmap(file);
  run(() => {
    draw(before, picture, picture.width, picture.height);
    return false;
  }, () => picture.close());
};

element("stop").onclick = () => stop();
