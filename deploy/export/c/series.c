/* Takes the step whose samples are held; returns whether it decides. */
static int rc_take_step(rc_state *state) {
  const int label = rc_step(&state->network, state->samples);
  state->samples_filled = 0;
  state->has_decided = rc_decides(&state->network, label);
  return state->has_decided;
}

static void rc_write_decision(const rc_state *state, rc_decision *decision) {
  const rc_network *network = &state->network;
  decision->label = network->steps ? network->last_label : -1;
  decision->probability = network->probabilities[network->last_label];
  decision->step = network->steps - 1;
  decision->samples = state->seen;
}

void rc_init(rc_state *state) { memset(state, 0, sizeof *state); }

int rc_push(rc_state *state, const double *sample, rc_decision *decision) {
  if (!state->has_decided) {
    float *held = state->samples + state->samples_filled * RC_NUM_CHANNELS;
    for (int k = 0; k < RC_NUM_CHANNELS; k++) {
      const double value = (sample[k] - rc_mean[k]) / rc_std[k];
      /* The comparison is false for NaN too. */
      if (fabs(value) <= RC_LARGEST) state->last[k] = (float)value;
      held[k] = state->last[k];
    }
    state->samples_filled++;
    state->seen++;
    if (state->samples_filled < RC_SAMPLES_PER_STEP || !rc_take_step(state)) return 0;
  }
  rc_write_decision(state, decision);
  return 1;
}

int rc_end(rc_state *state, rc_decision *decision) {
  if (state->samples_filled) {
    const int filled = state->samples_filled * RC_NUM_CHANNELS;
    for (int k = filled; k < RC_SAMPLES_PER_STEP * RC_NUM_CHANNELS; k++) state->samples[k] = 0.0f;
    rc_take_step(state);
  }
  rc_write_decision(state, decision);
  return state->has_decided;
}

const float *rc_probabilities(const rc_state *state, int *steps) {
  if (steps) *steps = state->network.steps;
  return state->network.probabilities;
}
