//! The HTTP shell that every function shares.
