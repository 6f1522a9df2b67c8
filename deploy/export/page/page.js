// What the page shows and hears with; the spotter itself is above.

"use strict";

const SHOWN_S = 10;
const model = JSON.parse(document.getElementById("model").textContent);
const colors = model.classNames.map((_, k) => `hsl(${(360 * k) / model.classNames.length} 65% 50%)`);
const element = (id) => document.getElementById(id);
let spotter, track, context, stopSound = () => {};

function start() {
  stopSound();
  spotter = new Spotter(model);
  track = { seconds: 0, peaks: [], steps: [], events: [] };
  element("events").replaceChildren();
  say("");
}

function say(text) {
  element("status").textContent = text;
}

/** Hears samples at 16 kHz, keeps what is drawn, and lists events. */
function hear(samples) {
  const { events, steps } = spotter.push(samples);
  for (let at = 0; at < samples.length; at += model.hop) {
    const part = samples.slice(at, at + model.hop);
    track.peaks.push({ seconds: track.seconds, peak: Math.max(...part.map(Math.abs)) });
    track.seconds += part.length / model.sampleRate;
  }
  track.steps.push(...steps);
  track.events.push(...events);
  const from = track.seconds - SHOWN_S;
  for (const name of ["peaks", "steps"]) {
    while (track[name].length && track[name][0].seconds < from) track[name].shift();
  }
  for (const event of events) {
    const line = document.createElement("li");
    line.textContent =
      `${event.seconds.toFixed(2)} s  ${event.word}  ${event.probability.toFixed(3)}`;
    element("events").prepend(line);
  }
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
  for (const event of track.events.filter((one) => one.seconds >= from)) {
    wave.paint.fillStyle = colors[model.classNames.indexOf(event.word)];
    wave.paint.fillRect(wave.x(event.seconds), 0, 2 * devicePixelRatio, wave.height);
    wave.paint.fillText(event.word, wave.x(event.seconds) + 6, 16 * devicePixelRatio);
  }
}

/** Follows the microphone until it is stopped. */
async function listen() {
  start();
  try {
    context = new AudioContext({ sampleRate: model.sampleRate });
    const code = `registerProcessor("take", class extends AudioWorkletProcessor {
      process(inputs) { if (inputs[0][0]) this.port.postMessage(inputs[0][0].slice()); return true; }
    })`;
    // A page that is opened as a file may not load a blob as a module.
    await context.audioWorklet.addModule(`data:text/javascript,${encodeURIComponent(code)}`);
    const sound = await navigator.mediaDevices.getUserMedia({ audio: {
      echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
    const take = new AudioWorkletNode(context, "take");
    take.port.onmessage = (message) => hear(Array.from(message.data));
    context.createMediaStreamSource(sound).connect(take);
    stopSound = () => {
      sound.getTracks().forEach((one) => one.stop());
      context.close();
      stopSound = () => {};
      say("");
    };
    say("listening");
  } catch (error) {
    say(`The microphone cannot be used (${error.message}); choose a recording instead.`);
  }
}

/** Hears a recording, in real time so that it can be watched, or at once. */
async function play(file, { aloud = true } = {}) {
  start();
  let sound;
  try {
    context = new AudioContext({ sampleRate: model.sampleRate });
    sound = await context.decodeAudioData(await file.arrayBuffer());
  } catch (error) {
    say(`${file.name} cannot be read as audio (${error.message}); choose another recording.`);
    return;
  }
  const channels = Array.from({ length: sound.numberOfChannels }, (_, k) => sound.getChannelData(k));
  const samples = channels[0].map((_, n) =>
    channels.reduce((sum, channel) => sum + channel[n], 0) / channels.length);
  let at = 0, isStopped = false;
  stopSound = () => { isStopped = true; context.close(); stopSound = () => {}; say(""); };
  if (aloud) {
    const source = context.createBufferSource();
    source.buffer = sound;
    source.connect(context.destination);
    source.start();
  }
  const started = performance.now();
  say(`playing ${file.name}`);
  while (at < samples.length && !isStopped) {
    const due = aloud ? ((performance.now() - started) * model.sampleRate) / 1000 : at + 16000;
    const end = Math.min(samples.length, Math.floor(due));
    if (end > at) hear(Array.from(samples.slice(at, end)));
    at = Math.max(at, end);
    await new Promise((resume) => setTimeout(resume, aloud ? 20 : 0));
  }
  if (!isStopped) say(`${file.name}: ${track.events.length} events`);
}

element("listen").onclick = listen;
element("stop").onclick = () => stopSound();
element("file").onchange = (event) => event.target.files.length && play(event.target.files[0]);
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
