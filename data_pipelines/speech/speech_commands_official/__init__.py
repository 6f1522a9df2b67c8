"""A TFDS data set, its builder and its checksums, in the folder layout that TFDS requires."""
