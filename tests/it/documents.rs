//! The generated pages under docs/ are those that the code would write now.

use std::path::Path;

#[test]
fn the_generated_pages_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in keyward::cli::generated_pages().unwrap() {
        let committed = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(committed == text, "{path} is out of date: run `cargo run --example docs`");
    }
}
