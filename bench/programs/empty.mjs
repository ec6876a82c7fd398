// The minimal preload.
