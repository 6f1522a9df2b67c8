/* What remains of a stream: 400 samples, 21 frames, the network's state. No member is for users. */
typedef struct {
  float window[RC_WINDOW];                 /* the samples of the next frame, oldest first */
  float frames[RC_CONTEXT * RC_NUM_BANDS]; /* standardised log-mel frames, oldest first */
  rc_network network;
  int window_filled;     /* samples in `window` */
  int frames_filled;     /* frames in `frames` */
  long long samples;     /* samples since rc_init */
  long long quiet_until; /* sample before which no event follows the last one */
} rc_state;

/* A decision that is reported. */
typedef struct {
  int label;         /* 0 to RC_NUM_CLASSES - 1 */
  float probability; /* of the label, at the step that decided, >= RC_THETA */
  int step;          /* zero-based step since the state was last reset */
  long long sample;  /* samples heard since rc_init */
} rc_event;

/* Begins a new recording: empties the buffers and resets the network's state. */
void rc_init(rc_state *state);

/* Resets the network's state and keeps the audio heard: the next frame, 10 ms later, gives step 0.
   rc_push does this itself after each decision. */
void rc_reset(rc_state *state);

/* Takes samples until there is an event or all are taken.

   A decision is made when the same label has reached RC_THETA at RC_PATIENCE steps in a row since the
   last reset. It is an event unless its class is not to be reported, as "unknown", or it comes within
   RC_REFRACTORY samples after the last event.

   samples: mono, 16 kHz, in [-1, 1]. A sample that is not finite, or is beyond +-32768, counts as 0,
     since it would stay in the network's state for ever.
   n: number of samples, any; nothing is taken if it is 0 or less.
   event: written if there is one; else left as it is.
   used: number of samples taken; call again with the rest.

   Returns 1 if there is an event, else 0. */
int rc_push(rc_state *state, const float *samples, int n, rc_event *event, int *used);

/* Returns the RC_NUM_CLASSES probabilities of the latest step, zeros before the first one.

   steps: where to write how many steps there were since the last reset, or a null pointer; 0 right
     after a decision, whose probabilities remain until the next step. */
const float *rc_probabilities(const rc_state *state, int *steps);
