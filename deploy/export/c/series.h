/* What remains of a series: the samples of a step, the network's state. No member is for users. */
typedef struct {
  float samples[RC_SAMPLES_PER_STEP * RC_NUM_CHANNELS]; /* standardised, of the next step */
  float last[RC_NUM_CHANNELS];                          /* standardised last value of each channel */
  rc_network network;
  int samples_filled; /* samples in `samples` */
  int has_decided;
  long long seen; /* samples since rc_init, none after a decision */
} rc_state;

/* A decision about a series. */
typedef struct {
  int label;         /* 0 to RC_NUM_CLASSES - 1 */
  float probability; /* of the label at this step */
  int step;          /* zero-based: that decided or, if none did, the last one */
  long long samples; /* that were seen until then */
} rc_decision;

extern const char *const rc_channel_names[RC_NUM_CHANNELS];

/* Begins a series. */
void rc_init(rc_state *state);

/* Takes the next sample of all channels, until there is a decision.

   A series is decided at the first step at which the same label has reached RC_THETA for RC_PATIENCE
   steps in a row. From then on this returns at once, with the same decision, until rc_init.

   sample: RC_NUM_CHANNELS values in the order of rc_channel_names and in the units of the training
     file; they are standardised here. They are doubles, since a float keeps little of a channel that
     varies little about a large mean. A value that is missing (NaN, or infinite, or more than
     RC_LARGEST standard deviations from the mean) repeats the one before, at first the channel's mean.
   decision: written if there is one; else left as it is.

   Returns 1 if there is a decision, else 0. */
int rc_push(rc_state *state, const double *sample, rc_decision *decision);

/* Ends a series: a last step that is not full ends in the channels' means.

   decision: always written; of a series that the network was never sure of, the most probable label
     at its last step; of one without a sample label -1 at step -1, with probability 0.

   Returns 1 if the network was sure, else 0. What is pushed then, before rc_init, is of no meaning. */
int rc_end(rc_state *state, rc_decision *decision);

/* Returns the RC_NUM_CLASSES probabilities of the latest step, zeros before the first one.

   steps: where to write how many steps there were, or a null pointer. */
const float *rc_probabilities(const rc_state *state, int *steps);
