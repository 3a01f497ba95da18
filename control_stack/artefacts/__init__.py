"""What runs leave behind: folders, logs, figures, tables and pictures."""
