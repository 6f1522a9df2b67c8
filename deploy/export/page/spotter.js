// The spotter of a trained run: samples at 16 kHz in, events out. It computes what
// deploy/front_end.py and deploy/spotter.py compute, and knows nothing of a page.

"use strict";

/** Reads base64 of little-endian float32. */
function readFloats(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

class Spotter {
  /** @param model what deploy.export.web writes: sizes, tables and layers. */
  constructor(model) {
    const layer = (one) => ({ ...one, kernel: readFloats(one.kernel), bias: readFloats(one.bias) });
    this.model = {
      ...model,
      encoder: model.encoder.map(layer),
      input: layer(model.input),
      recurrent: layer(model.recurrent),
      head: model.head.map(layer),
      hamming: readFloats(model.hamming),
      filters: readFloats(model.filters),
      mean: readFloats(model.mean),
      std: readFloats(model.std),
    };
    const angles = Array.from({ length: model.window }, (_, n) => (2 * Math.PI * n) / model.window);
    this.cosine = Float64Array.from(angles, Math.cos);
    this.sine = Float64Array.from(angles, Math.sin);
    this.samples = new Array(model.window / 2).fill(0);
    this.heard = 0;
    this.frames = [];
    this.quietUntil = 0;
    this.beginAnew();
  }

  beginAnew() {
    this.hidden = new Float64Array(this.model.units);
    this.cell = new Float64Array(this.model.units);
    this.sure = { label: -1, steps: 0 };
  }

  /** Whether these probabilities of a label are a decision: sure for `patience` steps on end. */
  decides(probabilities, label) {
    const isSure = probabilities[label] >= this.model.theta;
    const before = label === this.sure.label ? this.sure.steps : 0;
    this.sure = { label, steps: isSure ? before + 1 : 0 };
    return this.sure.steps >= this.model.patience;
  }

  /** Hears samples; returns {events, steps}, where a step is {seconds, probabilities}. */
  push(samples) {
    const { window, hop, sampleRate, refractory, classNames, notReported } = this.model;
    const events = [], steps = [];
    for (const sample of samples) {
      // What is no sample would stay in the network's state for ever.
      this.samples.push(Math.abs(sample) <= 32768 ? sample : 0);
      this.heard += 1;
      if (this.samples.length < window) continue;
      this.frames.push(this.computeFrame());
      this.samples.splice(0, hop);
      if (this.frames.length < this.model.context) continue;
      const probabilities = this.step(this.frames.flat());
      this.frames.shift();
      const seconds = this.heard / sampleRate;
      steps.push({ seconds, probabilities });
      const label = probabilities.indexOf(Math.max(...probabilities));
      if (!this.decides(probabilities, label)) continue;
      this.beginAnew();
      if (notReported.includes(classNames[label]) || this.heard < this.quietUntil) continue;
      this.quietUntil = this.heard + Math.round(refractory * sampleRate);
      events.push({ seconds, word: classNames[label], probability: probabilities[label] });
    }
    return { events, steps };
  }

  computeFrame() {
    const { window, bands, hamming, filters, mean, std, logOffset } = this.model;
    const heard = this.samples.map((sample, n) => sample * hamming[n]);
    const sums = new Float64Array(bands);
    for (let k = 0; k <= window / 2; k++) {
      let real = 0, imaginary = 0;
      for (let n = 0, angle = 0; n < window; n++) {
        real += heard[n] * this.cosine[angle];
        imaginary += heard[n] * this.sine[angle];
        angle += k;
        if (angle >= window) angle -= window;
      }
      const power = real * real + imaginary * imaginary;
      for (let band = 0; band < bands; band++) sums[band] += power * filters[k * bands + band];
    }
    return Array.from(sums, (sum, band) => (Math.log(sum + logOffset) - mean[band]) / std[band]);
  }

  step(frames) {
    const { encoder, input, recurrent, head, units } = this.model;
    const relu = (values) => values.map((value) => Math.max(value, 0));
    const sigmoid = (value) => 1 / (1 + Math.exp(-value));
    let x = Float64Array.from(frames);
    for (const layer of encoder) x = relu(apply(layer, x));
    const gates = apply(input, x);
    apply(recurrent, this.hidden).forEach((value, k) => (gates[k] += value));
    for (let k = 0; k < units; k++) {
      const kept = sigmoid(gates[units + k]) * this.cell[k];
      this.cell[k] = kept + sigmoid(gates[k]) * Math.tanh(gates[2 * units + k]);
      this.hidden[k] = sigmoid(gates[3 * units + k]) * Math.tanh(this.cell[k]);
    }
    x = this.hidden;
    for (const layer of head.slice(0, -1)) x = relu(apply(layer, x));
    const logits = apply(head[head.length - 1], x);
    const largest = Math.max(...logits);
    const weights = Array.from(logits, (logit) => Math.exp(logit - largest));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.map((weight) => weight / total);
  }
}

/** Weights [inputs, outputs] times x, and bias. */
function apply(layer, x) {
  const y = Float64Array.from(layer.bias);
  for (let i = 0, at = 0; i < x.length; i++) {
    if (x[i] === 0) {
      at += y.length;
      continue;
    }
    for (let j = 0; j < y.length; j++) y[j] += x[i] * layer.kernel[at++];
  }
  return y;
}

/** Brings samples to another rate as they arrive: a sinc under a Hann window, 16 zeros to a side. */
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.cutoff = 0.95 * Math.min(1, to / from); // of the band that is kept, to half of `from`
    this.reach = Math.ceil(16 / this.cutoff);
    this.samples = new Array(this.reach).fill(0);
    this.at = this.reach; // of the next sample within `samples`
  }

  push(samples) {
    if (this.step === 1) return samples;
    for (const sample of samples) this.samples.push(sample);
    const found = [];
    for (; this.at + this.reach < this.samples.length; this.at += this.step) {
      found.push(this.compute(this.at));
    }
    const done = Math.floor(this.at) - this.reach;
    this.samples.splice(0, done);
    this.at -= done;
    return found;
  }

  compute(at) {
    let sum = 0;
    for (let n = Math.ceil(at - this.reach); n <= at + this.reach; n++) {
      const angle = Math.PI * (n - at);
      const sinc = angle === 0 ? this.cutoff : Math.sin(this.cutoff * angle) / angle;
      sum += this.samples[n] * sinc * (0.5 + 0.5 * Math.cos(angle / this.reach));
    }
    return sum;
  }
}

if (typeof module !== "undefined") module.exports = { Resampler, Spotter };
