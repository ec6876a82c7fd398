// The least that a preload can be.
