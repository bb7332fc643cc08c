//! The only unsafe code: socket options and inherited descriptors, each a safe function with its SAFETY line.
