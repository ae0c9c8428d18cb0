"""Captures of real Oracle servers: what one answered to hat_etl, played back to the driver where there is no Oracle."""
