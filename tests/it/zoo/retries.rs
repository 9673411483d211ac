//! What is tried again, and what is not.
