"""Facts about PLS tables in a Protheus database: data dictionary, known indexes, physical names and conventions."""
