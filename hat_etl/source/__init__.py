"""The ERP: reading it, and the views it is read through."""
