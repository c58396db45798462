"""The Runs screen: the catalog as a table, one run's labels, several runs compared."""
