"""Live plots: number buffers, smoothing and the one plot widget; imported with the first screen that draws."""
