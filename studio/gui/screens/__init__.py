"""The screens of the window, each in its folder, built when first visited."""
