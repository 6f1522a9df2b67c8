extern const char *const rc_class_names[RC_NUM_CLASSES];

/* The network's state. No member is for users. */
typedef struct {
#if !RC_GRU
  float cell[RC_RECURRENT_LAYERS][RC_UNITS];
#endif
  float hidden[RC_RECURRENT_LAYERS][RC_UNITS];
  float probabilities[RC_NUM_CLASSES]; /* of the latest step */
  int steps;                           /* steps since the state was last at zero */
  int last_label;                      /* most probable label of the latest step */
  int sure_steps;                      /* steps on end at which it has reached RC_THETA */
} rc_network;

