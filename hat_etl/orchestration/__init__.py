"""The Dagster door: partitions, assets, the load as one step, storage. Thin: what is done stands in ``sync``.

Nothing here touches a database, a tenant file or a secret while it is imported.
"""
