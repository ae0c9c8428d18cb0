"""hat_etl: brings a health operator's data from TOTVS Protheus PLS into its HAT database."""

__version__ = "0.1.0"
