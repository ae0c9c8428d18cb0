"""One module a version, in order; a version that tenants have is never changed."""
