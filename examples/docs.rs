//! Writes the generated pages under docs/ anew: `cargo run --example docs`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in keyward::cli::generated_pages()? {
        std::fs::write(root.join(path), text)?;
    }
    Ok(())
}
