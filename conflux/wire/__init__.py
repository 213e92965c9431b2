"""What travels: values, frames between nodes, frames between a node and its clients.

Bytes from the network are judged here and nowhere else.
"""
