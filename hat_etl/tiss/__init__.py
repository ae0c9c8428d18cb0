"""The ANS TISS standard (communication component): checking files, building requests, reading replies, talking SOAP.

Nothing here knows of databases or tenants.
"""
