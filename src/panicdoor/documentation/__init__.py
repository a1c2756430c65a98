"""The registry of commands as text, pages, HTML, JSON and manual page."""
