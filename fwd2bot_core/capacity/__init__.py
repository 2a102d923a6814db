"""What an archive of a given size takes, reckoned from named figures. Knows no database, store or price."""
