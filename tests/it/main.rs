//! The one integration binary: the program against the built-in AWS and against a third party's.

// `cfg(test)` tells clippy that the helpers between the tests are tests too.
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod bad_logs;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod daemon_lab;
#[cfg(test)]
mod dashboards;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod exactly_once;
#[cfg(test)]
mod exemplars;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod gaps;
#[cfg(test)]
mod lab;
#[cfg(test)]
mod life;
#[cfg(test)]
mod ministack;
#[cfg(test)]
mod ministack_alerts;
#[cfg(test)]
mod ministack_queue;
#[cfg(test)]
mod pack;
#[cfg(test)]
mod purity;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod replay_store;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tamper;
