"""HAT's REST API: Mastertoken, calls, typed bodies, signed files."""
