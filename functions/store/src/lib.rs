//! Where flows come from and large payloads go.
