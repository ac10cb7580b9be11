//! The one integration binary: the program against the built-in AWS and against a third party's.

// `cfg(test)` tells clippy that the helpers between the tests are tests too.
#[cfg(test)]
mod crash;
#[cfg(test)]
mod dashboards;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod exemplars;
#[cfg(test)]
mod gaps;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod life;
#[cfg(test)]
mod pack;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod support;
