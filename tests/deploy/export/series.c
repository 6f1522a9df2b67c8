/* Reads series from stdin and prints what the exported network says of them.

   A series is its number of samples and then these, all as doubles. A line "step P ..." follows each
   new step, "decision SURE LABEL P STEP SAMPLES" the series; the first lines are sizes and names. */
#include <stdio.h>

#include "rc_model.h"

static rc_state state;

static void print_new_step(int *seen) {
  int steps;
  const float *p = rc_probabilities(&state, &steps);
  if (steps == *seen) return;
  *seen = steps;
  printf("step");
  for (int k = 0; k < RC_NUM_CLASSES; k++) printf(" %.9g", p[k]);
  printf("\n");
}

static void print_decision(int sure, const rc_decision *d) {
  printf("decision %d %d %.9g %d %lld\n", sure, d->label, d->probability, d->step, d->samples);
}

int main(void) {
  double length, sample[RC_NUM_CHANNELS];
  printf("sizeof %d\n", (int)sizeof(rc_state));
  for (int k = 0; k < RC_NUM_CLASSES; k++) printf("class %s\n", rc_class_names[k]);
  for (int k = 0; k < RC_NUM_CHANNELS; k++) printf("channel %s\n", rc_channel_names[k]);
  while (fread(&length, sizeof length, 1, stdin)) {
    rc_decision at_push = {-2, 0.0f, 0, 0}, at_end = {-2, 0.0f, 0, 0};
    int sure = 0, seen = 0;
    rc_init(&state);
    if (rc_probabilities(&state, 0)[0] != 0.0f) return 4;
    for (int t = 0; t < (int)length; t++) {
      if (fread(sample, sizeof sample, 1, stdin) != 1) return 1;
      const int now = rc_push(&state, sample, &at_push);
      if (now < sure || (!now && at_push.label != -2)) return 2;
      sure = now;
      print_new_step(&seen);
    }
    const int sure_at_end = rc_end(&state, &at_end);
    print_new_step(&seen);
    if (sure) {
      if (!sure_at_end) return 3;
      print_decision(sure, &at_push);
    }
    print_decision(sure_at_end, &at_end);
  }
  return 0;
}
