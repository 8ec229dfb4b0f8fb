"""Users' files: found, opened and read record by record, whatever their format and dialect."""
