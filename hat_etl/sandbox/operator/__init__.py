"""An operator's TISS web service as a real HTTP server with state: takes lots once, and says what becomes of them."""
