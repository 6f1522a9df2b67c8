"""A TFDS data set in the folder layout that TFDS asks for: builder and checksums."""
