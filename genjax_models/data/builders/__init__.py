"""TFDS builders that prepare without TensorFlow; each is imported only when its set is prepared."""
