"""The shell around the core: one loop a node, formation, forwarding, and what its clients ask."""
