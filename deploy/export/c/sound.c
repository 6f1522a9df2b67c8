#define RC_HALF (RC_WINDOW / 2)

/* Adds a, b times exp(-2 pi i angle / RC_WINDOW) to n complex numbers. */
static void rc_add_turned(const float *a, const float *b, int angle, float *restrict real,
                          float *restrict imaginary, int n) {
  const float cosine = rc_cosine[angle], sine = rc_sine[angle];
  for (int k = 0; k < n; k++) {
    real[k] += a[k] * cosine + b[k] * sine;
    imaginary[k] += b[k] * cosine - a[k] * sine;
  }
}

/* Computes the Fourier transform of RC_HALF = 200 complex numbers, real[0] and imaginary[0]; the
   result is in real[1] and imaginary[1].

   Stockham's algorithm in three stages, of radix 8, 5 and 5. A stage combines numbers that lie
   `groups * stride` apart, `stride` neighbours alike, and leaves the last result in order. */
static void rc_transform(float real[2][RC_HALF], float imaginary[2][RC_HALF]) {
  static const int radices[] = {8, 5, 5};
  int from = 0, stride = 1;
  for (int stage = 0; stage < 3; stage++, from = 1 - from) {
    const int radix = radices[stage], groups = RC_HALF / stride / radix;
    memset(real[1 - from], 0, sizeof real[0]);
    memset(imaginary[1 - from], 0, sizeof imaginary[0]);
    for (int group = 0; group < groups; group++)
      for (int out = 0; out < radix; out++)
        for (int in = 0; in < radix; in++) {
          const int place = group + groups * in, target = stride * (radix * group + out);
          rc_add_turned(real[from] + stride * place, imaginary[from] + stride * place,
                        2 * (stride * out * place % RC_HALF), real[1 - from] + target,
                        imaginary[1 - from] + target, stride);
        }
    stride *= radix;
  }
}

/* Computes the power of RC_WINDOW real samples at 0 to RC_HALF cycles a window.

   The even samples are taken as real and the odd ones as imaginary parts: of their joint transform,
   the even part is the transform of the former, the odd part that of the latter. */
static void rc_compute_power(const float *samples, float *power) {
  float real[2][RC_HALF], imaginary[2][RC_HALF];
  for (int n = 0; n < RC_HALF; n++) {
    real[0][n] = samples[2 * n];
    imaginary[0][n] = samples[2 * n + 1];
  }
  rc_transform(real, imaginary);
  for (int k = 0; k <= RC_HALF; k++) {
    const int i = k % RC_HALF, j = (RC_HALF - k) % RC_HALF;
    /* Each is twice the transform, hence the quarter of the power. */
    const float even_re = real[1][i] + real[1][j], even_im = imaginary[1][i] - imaginary[1][j];
    const float odd_re = imaginary[1][i] + imaginary[1][j], odd_im = real[1][j] - real[1][i];
    const float re = even_re + odd_re * rc_cosine[k] + odd_im * rc_sine[k];
    const float im = even_im + odd_im * rc_cosine[k] - odd_re * rc_sine[k];
    power[k] = 0.25f * (re * re + im * im);
  }
}

/* Computes a standardised log-mel frame of RC_NUM_BANDS from RC_WINDOW samples. */
static void rc_compute_frame(const float *samples, float *frame) {
  float windowed[RC_WINDOW], power[RC_HALF + 1];
  for (int n = 0; n < RC_WINDOW; n++) windowed[n] = samples[n] * rc_hamming[n];
  rc_compute_power(windowed, power);
  const float *weight = rc_band_weights;
  for (int band = 0; band < RC_NUM_BANDS; band++) {
    float sum = 0.0f;
    for (int k = 0; k < rc_band_width[band]; k++) sum += power[rc_band_first[band] + k] * *weight++;
    frame[band] = (logf(sum + RC_LOG_OFFSET) - rc_mean[band]) / rc_std[band];
  }
}

/* Turns a full window into a frame; returns the label of its step, -1 while frames are missing. */
static int rc_take_window(rc_state *state) {
  const int kept = (RC_CONTEXT - 1) * RC_NUM_BANDS;
  memmove(state->frames, state->frames + RC_NUM_BANDS, kept * sizeof(float));
  rc_compute_frame(state->window, state->frames + kept);
  state->window_filled = RC_WINDOW - RC_HOP;
  memmove(state->window, state->window + RC_HOP, state->window_filled * sizeof(float));
  if (state->frames_filled < RC_CONTEXT) state->frames_filled++;
  return state->frames_filled < RC_CONTEXT ? -1 : rc_step(&state->network, state->frames);
}

void rc_init(rc_state *state) {
  memset(state, 0, sizeof *state);
  state->window_filled = RC_WINDOW / 2; /* zeros, so that the first frame is centred on sample 0 */
}

void rc_reset(rc_state *state) {
  float probabilities[RC_NUM_CLASSES];
  memcpy(probabilities, state->network.probabilities, sizeof probabilities);
  memset(&state->network, 0, sizeof state->network);
  memcpy(state->network.probabilities, probabilities, sizeof probabilities);
}

int rc_push(rc_state *state, const float *samples, int n, rc_event *event, int *used) {
  for (*used = 0; *used < n;) {
    const float sample = samples[(*used)++];
    /* The comparison is false for NaN too. */
    state->window[state->window_filled++] = fabsf(sample) <= 32768.0f ? sample : 0.0f;
    state->samples++;
    if (state->window_filled < RC_WINDOW) continue;
    const int label = rc_take_window(state);
    if (label < 0 || !rc_decides(&state->network, label)) continue;
    const int step = state->network.steps - 1;
    rc_reset(state);
    if (!rc_is_event[label] || state->samples < state->quiet_until) continue;
    event->label = label;
    event->probability = state->network.probabilities[label];
    event->step = step;
    event->sample = state->samples;
    state->quiet_until = state->samples + RC_REFRACTORY;
    return 1;
  }
  return 0;
}

const float *rc_probabilities(const rc_state *state, int *steps) {
  if (steps) *steps = state->network.steps;
  return state->network.probabilities;
}
