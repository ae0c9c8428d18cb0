"""What people take away: spreadsheets and, later, certificates."""
