"""Processes that hold a node or make load. They answer a line of JSON on stdin with one on stdout."""
