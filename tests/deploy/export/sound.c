/* Reads float32 samples from stdin and prints what the exported network says of them.

   Arguments: samples a push, and after how many samples rc_reset is called (-1: never). A line
   "step N P ..." follows a push after which there is a new step, "event LABEL P STEP SAMPLE" an
   event; the first lines are sizes and class names. */
#include <stdio.h>
#include <stdlib.h>

#include "rc_model.h"

static rc_state state;

int main(int argc, char **argv) {
  const int chunk = argc > 1 ? atoi(argv[1]) : 160;
  const long long reset_at = argc > 2 ? atoll(argv[2]) : -1;
  float *samples = malloc(chunk * sizeof(float));
  long long heard = 0;
  int n, used, seen = 0, steps;
  printf("sizeof %d\n", (int)sizeof(rc_state));
  for (int k = 0; k < RC_NUM_CLASSES; k++) printf("name %s\n", rc_class_names[k]);
  rc_init(&state);
  while ((n = (int)fread(samples, sizeof(float), chunk, stdin)) > 0) {
    for (int at = 0; at < n; at += used) {
      rc_event event = {-1, 0.0f, -1, -1};
      const int fired = rc_push(&state, samples + at, n - at, &event, &used);
      if (fired)
        printf("event %d %.9g %d %lld\n", event.label, event.probability, event.step, event.sample);
      else if (event.label != -1 || used != n - at)
        return 1;
      const float *p = rc_probabilities(&state, &steps);
      if (fired || steps != seen) {
        printf("step %d", fired ? event.step : steps - 1);
        for (int k = 0; k < RC_NUM_CLASSES; k++) printf(" %.9g", p[k]);
        printf("\n");
      }
      seen = steps;
      heard += used;
      if (heard == reset_at) {
        rc_reset(&state);
        seen = 0;
      }
    }
  }
  rc_event untouched = {-1, 0.0f, -1, -1};
  if (rc_push(&state, samples, 0, &untouched, &used) || used || untouched.label != -1) return 2;
  free(samples);
  return 0;
}
