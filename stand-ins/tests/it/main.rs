//! The stand-ins through real sockets: faults, tokens, and what each upstream serves.

// `cfg(test)` is always true here; it tells the lints that these modules are tests.
#[cfg(test)]
mod control;
#[cfg(test)]
mod events;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod locks;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod oauth;
#[cfg(test)]
mod oidc;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod pass_through;
#[cfg(test)]
mod platform;
#[cfg(test)]
mod sync;
#[cfg(test)]
mod upstreams;
