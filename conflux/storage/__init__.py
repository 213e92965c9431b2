"""Term, vote, log and the directory's facts: in LMDB, synced; with a twin in memory."""
