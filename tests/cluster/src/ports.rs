//! Free loopback ports for programs that cannot choose one themselves.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, TcpListener},
};

use anyhow::{Result, bail};

/// Below the range from which systems take the ports of outgoing connections, so that none of those can take a port
/// between this choice and its use.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// `N` different ports that nobody listens on, neither on loopback nor on all addresses.
///
/// For programs that cannot choose a port themselves; another process may still be quicker, so whoever uses this tries again.
///
/// # Errors
/// There are not so many.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    // Starting anywhere keeps processes that start at the same moment apart.
    let start = RandomState::new().build_hasher().finish();
    let width = u64::from(RANGE.end - RANGE.start);
    let mut held = Vec::new();
    let mut ports = [0; N];
    for offset in 0..width {
        if held.len() == N {
            return Ok(ports);
        }
        let port = RANGE.start + u16::try_from((start.wrapping_add(offset)) % width)?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            ports[held.len()] = port;
            held.push(listener);
        }
    }
    bail!(
        "no {N} free ports between {} and {}",
        RANGE.start,
        RANGE.end
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ() -> Result<()> {
        let ports = free::<4>()?;
        assert!(ports.iter().all(|port| RANGE.contains(port)), "{ports:?}");
        assert!(
            !(1..4).any(|end| ports[..end].contains(&ports[end])),
            "{ports:?}"
        );
        Ok(())
    }

    #[test]
    fn a_port_in_use_is_not_given() -> Result<()> {
        let [port] = free()?;
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err());
        Ok(())
    }
}
