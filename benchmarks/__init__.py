"""Benchmarks: hat_etl beside the transport limit and its peers, in interleaved runs of whole processes."""
