//! Sigma rules: loading, compiling, and three-valued evaluation.
