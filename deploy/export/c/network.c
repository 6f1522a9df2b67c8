#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "compile without -ffast-math, or with -fno-finite-math-only: input that is NaN is looked for"
#endif

/* Adds the product of a layer's weights and its inputs to y, which has room for whole blocks.

   The weights of RC_BLOCK outputs at a time lie together, an input after the other, so that memory
   is read in order and compilers vectorise the inner loops without leave to reorder sums. Four
   inputs at a time, since GCC at -O2 keeps the sums in memory, not in registers: with one at a time
   a step of an LSTM-128 took 100 us instead of 63. */
static void rc_add_product(const rc_layer *layer, const float *x, float *y) {
  const rc_weight *w = layer->weights;
  for (int first = 0; first < layer->outputs; first += RC_BLOCK) {
    float sum[RC_BLOCK] = {0.0f};
    int i = 0;
    for (; i + 4 <= layer->inputs; i += 4, w += 4 * RC_BLOCK)
      for (int j = 0; j < RC_BLOCK; j++)
        sum[j] += x[i] * (float)w[j] + x[i + 1] * (float)w[RC_BLOCK + j] +
                  x[i + 2] * (float)w[2 * RC_BLOCK + j] + x[i + 3] * (float)w[3 * RC_BLOCK + j];
    for (; i < layer->inputs; i++, w += RC_BLOCK)
      for (int j = 0; j < RC_BLOCK; j++) sum[j] += x[i] * (float)w[j];
    for (int j = 0; j < RC_BLOCK; j++) {
#if RC_INT8
      sum[j] *= layer->scales[first + j];
#endif
      y[first + j] += sum[j];
    }
  }
}

/* Computes y = bias + weights x, rounded up to whole blocks. */
static void rc_apply(const rc_layer *layer, const float *x, float *y) {
  const int blocks = (layer->outputs + RC_BLOCK - 1) / RC_BLOCK;
  memcpy(y, layer->bias, (size_t)blocks * RC_BLOCK * sizeof(float));
  rc_add_product(layer, x, y);
}

static void rc_apply_relu(const rc_layer *layer, const float *x, float *y) {
  rc_apply(layer, x, y);
  for (int j = 0; j < layer->outputs; j++) y[j] = y[j] > 0.0f ? y[j] : 0.0f;
}

static float rc_sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

#if RC_GRU
/* Updates a layer's state by the gates r, z, n, each RC_UNITS long: the sums of the input and those
   of the state. */
static void rc_apply_gates(float *hidden, const float *of_input, const float *of_state) {
  for (int k = 0; k < RC_UNITS; k++) {
    const float r = rc_sigmoid(of_input[k] + of_state[k]);
    const float z = rc_sigmoid(of_input[RC_UNITS + k] + of_state[RC_UNITS + k]);
    const float n = tanhf(of_input[2 * RC_UNITS + k] + r * of_state[2 * RC_UNITS + k]);
    hidden[k] = (1.0f - z) * n + z * hidden[k];
  }
}
#else
/* Updates a layer's state by the gates i, f, g, o, each RC_UNITS long. */
static void rc_apply_gates(float *cell, float *hidden, const float *gates) {
  for (int k = 0; k < RC_UNITS; k++) {
    const float i = rc_sigmoid(gates[k]), f = rc_sigmoid(gates[RC_UNITS + k]);
    const float g = tanhf(gates[2 * RC_UNITS + k]), o = rc_sigmoid(gates[3 * RC_UNITS + k]);
    cell[k] = f * cell[k] + i * g;
    hidden[k] = o * tanhf(cell[k]);
  }
}
#endif

/* Makes probabilities of logits and returns the most probable label, the first of equals. */
static int rc_softmax(const float *logits, float *probabilities) {
  int label = 0;
  float sum = 0.0f;
  for (int k = 1; k < RC_NUM_CLASSES; k++)
    if (logits[k] > logits[label]) label = k;
  for (int k = 0; k < RC_NUM_CLASSES; k++) {
    probabilities[k] = expf(logits[k] - logits[label]);
    sum += probabilities[k];
  }
  for (int k = 0; k < RC_NUM_CLASSES; k++) probabilities[k] /= sum;
  return label;
}

/* One step of the network on its input x; returns the most probable label. */
static int rc_step(rc_network *network, const float *x) {
  float buffers[2][RC_WIDEST];
  const rc_layer *layer = rc_layers;
  int turn = 0;
  for (int k = 0; k < RC_ENCODER_LAYERS; k++, turn = 1 - turn) {
    rc_apply_relu(layer++, x, buffers[turn]);
    x = buffers[turn];
  }
  for (int k = 0; k < RC_RECURRENT_LAYERS; k++) {
    rc_apply(layer++, x, buffers[turn]);
#if RC_GRU
    rc_apply(layer++, network->hidden[k], buffers[1 - turn]);
    rc_apply_gates(network->hidden[k], buffers[turn], buffers[1 - turn]);
#else
    rc_add_product(layer++, network->hidden[k], buffers[turn]);
    rc_apply_gates(network->cell[k], network->hidden[k], buffers[turn]);
#endif
    x = network->hidden[k];
  }
  for (int k = 0; k < RC_HEAD_LAYERS - 1; k++) {
    turn = 1 - turn;
    rc_apply_relu(layer++, x, buffers[turn]);
    x = buffers[turn];
  }
  rc_apply(layer, x, buffers[1 - turn]);
  if (network->steps < INT_MAX) network->steps++;
  return rc_softmax(buffers[1 - turn], network->probabilities);
}

/* Whether this label of the latest step is a decision: sure for RC_PATIENCE steps on end. */
static int rc_decides(rc_network *network, int label) {
  if (label != network->last_label) network->sure_steps = 0;
  network->last_label = label;
  if (network->probabilities[label] >= RC_THETA)
    network->sure_steps++;
  else
    network->sure_steps = 0;
  return network->sure_steps >= RC_PATIENCE;
}
