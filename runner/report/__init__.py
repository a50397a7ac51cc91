"""What people see: status screens, cost analysis, the HTML page, and the log."""
