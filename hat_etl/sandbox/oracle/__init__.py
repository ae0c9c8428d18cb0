"""A server that speaks Oracle's network protocol in front of the sandbox's PostgreSQL, for the real driver to read."""
