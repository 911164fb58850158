"""What recipes measure of a finished run."""
