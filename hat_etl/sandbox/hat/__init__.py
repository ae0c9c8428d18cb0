"""HAT's API as a real server with state: lots and their files, cadastral writes with tokens, authorizations."""
