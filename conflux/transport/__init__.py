"""How frames travel: `Channel` and `ClientChannel`, over ZeroMQ between processes and in memory within one.

Rule: `sockets`, `zap` and the modules named `zeromq*` import zmq, nothing else does when it is imported; what only
handles addresses, keys or memory channels starts without it.

What is left out: keys of single nodes (all of a cluster's pairs are derived from its key), and cutting the live link of
a key that is admitted no more.
"""
