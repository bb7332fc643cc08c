//! Events: one function for each fact, one line each. Human form on a terminal (time, level, message), else JSON.
