//! The kernel side as the agent sees it: load, attach, read, steer.
