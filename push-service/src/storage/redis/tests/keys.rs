//! What stands in Redis, and for how long.
