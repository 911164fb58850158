"""What runs an experiment and keeps what came of it."""
