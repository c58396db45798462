"""What is wrong with a dataset, row by row, and how it is mended."""
