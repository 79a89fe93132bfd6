"""Many linear SVMs of the same images at once, each with a certificate of how near its minimum it is."""
