# Thin names for the commands of this repository.

# The demo on the built-in AWS.
demo:
    cargo run -- demo

# Every check, with its set-up.
test:
    bash tests/run.sh

# The generated pages under docs/.
docs:
    cargo run --example docs

# Benchmarks.
bench:
    cargo bench

# Licences, advisories and sources of the dependencies (needs cargo-deny).
deny:
    cargo deny check
