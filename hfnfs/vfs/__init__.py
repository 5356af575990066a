"""One exported volume: names, attributes and data, synchronous and without sockets."""
