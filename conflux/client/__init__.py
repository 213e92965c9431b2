"""The same verbs from outside the cluster, and the requester that makes a retry harmless."""
