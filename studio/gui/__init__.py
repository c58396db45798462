"""The window; importing it loads neither torch nor pyqtgraph nor the database."""
