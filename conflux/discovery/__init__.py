"""Where other nodes may be: hints for dialling, never membership."""
