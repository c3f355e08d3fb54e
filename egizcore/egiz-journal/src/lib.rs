//! A segmented, checksummed, append-only log with group commit.
