// What the page shows and hears with; the spotter itself is above.

"use strict";

const SHOWN_S = 10;
const LISTED = 1000; // events
const model = JSON.parse(document.getElementById("model").textContent);
const colors = model.classNames.map((_, k) => `hsl(${(360 * k) / model.classNames.length} 65% 50%)`);
const element = (id) => document.getElementById(id);
let spotter, track, source;

/** What is heard now, a microphone or a recording. A new one stops the one before. */
class Source {
  constructor() {
    source?.stop();
    source = this;
    this.closers = [];
    this.isStopped = false;
    spotter = new Spotter(model);
    track = { seconds: 0, count: 0, peaks: [], steps: [], events: [] };
    element("events").replaceChildren();
    say("");
  }

  /** Keeps what closes a part; calls it at once where the source was stopped meanwhile. */
  keep(close) {
    if (this.isStopped) close();
    else this.closers.push(close);
  }

  /** Opens an audio context, and says a text while it runs. */
  openContext(text, options = {}) {
    const context = new AudioContext(options);
    // Browsers let no sound begin before somebody has clicked on the page.
    const resume = () => context.resume();
    const tell = () => say(context.state === "running" ? text : "Click on the page to begin.");
    document.addEventListener("click", resume);
    context.onstatechange = tell;
    tell();
    this.keep(() => {
      context.onstatechange = null;
      document.removeEventListener("click", resume);
      context.close();
    });
    return context;
  }

  /** Closes all that was opened, and says why. */
  stop(text = "") {
    if (this.isStopped) return;
    this.isStopped = true;
    this.closers.forEach((close) => close());
    say(text);
  }

  /** Hears samples at 16 kHz, keeps what is drawn, and lists events. */
  hear(samples) {
    if (this.isStopped) return;
    const { events, steps } = spotter.push(samples);
    for (let at = 0; at < samples.length; at += model.hop) {
      const part = samples.slice(at, at + model.hop);
      track.peaks.push({ seconds: track.seconds, peak: Math.max(...part.map(Math.abs)) });
      track.seconds += part.length / model.sampleRate;
    }
    track.count += events.length;
    track.steps = track.steps.concat(steps);
    track.events = track.events.concat(events);
    const from = track.seconds - SHOWN_S;
    for (const name of ["peaks", "steps", "events"]) {
      while (track[name].length && track[name][0].seconds < from) track[name].shift();
    }
    for (const event of events) {
      const line = document.createElement("li");
      line.textContent =
        `${event.seconds.toFixed(2)} s  ${event.word}  ${event.probability.toFixed(3)}`;
      element("events").prepend(line);
      if (element("events").childElementCount > LISTED) element("events").lastChild.remove();
    }
  }
}

function say(text) {
  element("status").textContent = text;
}

function draw() {
  requestAnimationFrame(draw);
  if (!track) return;
  const from = Math.max(0, track.seconds - SHOWN_S);
  const [wave, curves] = ["wave", "curves"].map((id) => {
    const canvas = element(id);
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = canvas.clientHeight * devicePixelRatio;
    const paint = canvas.getContext("2d");
    paint.lineWidth = devicePixelRatio;
    paint.strokeStyle = paint.fillStyle = getComputedStyle(canvas).color;
    paint.font = `${13 * devicePixelRatio}px sans-serif`;
    return { paint, x: (s) => ((s - from) / SHOWN_S) * canvas.width, height: canvas.height };
  });
  for (const { seconds, peak } of track.peaks) {
    const half = Math.max(1, (peak * wave.height) / 2);
    wave.paint.fillRect(wave.x(seconds), wave.height / 2 - half, devicePixelRatio, 2 * half);
  }
  const y = (p) => curves.height * (1 - 0.98 * p) - 1;
  curves.paint.setLineDash([4, 4]);
  curves.paint.strokeRect(-2, y(model.theta), curves.paint.canvas.width + 4, 0);
  curves.paint.setLineDash([]);
  model.classNames.forEach((_, label) => {
    curves.paint.strokeStyle = colors[label];
    curves.paint.beginPath();
    for (const { seconds, probabilities } of track.steps) {
      curves.paint.lineTo(curves.x(seconds), y(probabilities[label]));
    }
    curves.paint.stroke();
  });
  for (const event of track.events) {
    wave.paint.fillStyle = colors[model.classNames.indexOf(event.word)];
    wave.paint.fillRect(wave.x(event.seconds), 0, 2 * devicePixelRatio, wave.height);
    wave.paint.fillText(event.word, wave.x(event.seconds) + 6, 16 * devicePixelRatio);
  }
}

/** Follows the microphone until it is stopped. */
async function listen() {
  const mine = new Source();
  if (!navigator.mediaDevices) {
    mine.stop("A page may use the microphone if it is a file or comes by https; this one does not.");
    return;
  }
  try {
    const sound = await navigator.mediaDevices.getUserMedia({ audio: {
      channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
    mine.keep(() => sound.getTracks().forEach((one) => one.stop()));
    if (mine.isStopped) return; // while the user was asked
    sound.getTracks()[0].onended = () => mine.stop("The microphone is gone.");
    // At the rate of the microphone, since Firefox resamples none.
    const context = mine.openContext("listening");
    const resampler = new Resampler(context.sampleRate, model.sampleRate);
    const code = `registerProcessor("take", class extends AudioWorkletProcessor {
      process(inputs) { if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice()); return true; }
    })`;
    // A page that is opened as a file may not load a blob as a module.
    await context.audioWorklet.addModule(`data:text/javascript,${encodeURIComponent(code)}`);
    const take = new AudioWorkletNode(
      context, "take", { channelCount: 1, channelCountMode: "explicit" });
    take.port.onmessage = (message) => mine.hear(resampler.push(Array.from(message.data)));
    context.createMediaStreamSource(sound).connect(take);
  } catch (error) {
    mine.stop(`The microphone cannot be used (${error.message}); choose a recording instead.`);
  }
}

/** Hears a recording while it is played. */
async function play(file) {
  const mine = new Source();
  const context = mine.openContext(`playing ${file.name}`, { sampleRate: model.sampleRate });
  let sound;
  try {
    sound = await context.decodeAudioData(await file.arrayBuffer());
  } catch (error) {
    mine.stop(`${file.name} cannot be read as audio (${error.message}); choose another recording.`);
    return;
  }
  const channels = Array.from({ length: sound.numberOfChannels }, (_, k) => sound.getChannelData(k));
  const samples = Array.from(channels[0], (_, n) => {
    const mean = channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length;
    return Math.min(1, Math.max(-1, mean));
  });
  if (mine.isStopped) return;
  const player = context.createBufferSource();
  player.buffer = sound;
  player.connect(context.destination);
  player.start();
  const started = context.currentTime;
  for (let at = 0; at < samples.length && !mine.isStopped; ) {
    const due = Math.floor((context.currentTime - started) * model.sampleRate);
    const end = Math.min(samples.length, due, at + model.sampleRate);
    if (end > at) mine.hear(samples.slice(at, end));
    at = Math.max(at, end);
    await new Promise((resume) => setTimeout(resume, 20));
  }
  mine.stop(`${file.name}: ${track.count} events`);
}

element("listen").onclick = listen;
element("stop").onclick = () => source?.stop();
element("file").onchange = (event) => {
  if (event.target.files.length) play(event.target.files[0]);
  event.target.value = ""; // so that the same file may be chosen again
};
document.body.ondragover = (event) => event.preventDefault();
document.body.ondrop = (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) play(event.dataTransfer.files[0]);
};
element("legend").replaceChildren(...model.classNames.map((name, label) => {
  const item = document.createElement("span");
  item.textContent = name;
  item.style.color = colors[label];
  return item;
}));
draw();
if (new URLSearchParams(location.search).has("listen")) listen();
