"""Running of experiments, and the directories of their results."""
