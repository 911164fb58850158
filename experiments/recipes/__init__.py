"""Named, typed configurations and how each becomes a model: a file a family."""
