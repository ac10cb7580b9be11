//! The one integration binary: the program against the built-in AWS and against a third party's.

// `cfg(test)` tells clippy that the helpers between the tests are tests too.
#[cfg(test)]
mod dashboards;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod exemplars;
#[cfg(test)]
mod ministack;
#[cfg(test)]
mod pack;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod support;
