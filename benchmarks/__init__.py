"""How fast Conflux is, beside its peers: each measured in turn on the same machine, in the same run.

`python -m benchmarks.run --help` is the door. A *system* (`systems/`) is what can be started as a cluster and put under
load; a *worker* (`workers/`) is a process that holds a node or makes load, and is spoken to in lines of JSON.
"""
