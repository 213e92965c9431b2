"""Apps that are ready to run."""
