//! Tables for people, as every command prints them.

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};

use crate::model::Level;

/// A table with a header. `width` is the terminal's; none: as wide as it gets.
pub(super) fn table<const N: usize>(header: [&str; N], width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => _ = table.set_content_arrangement(ContentArrangement::Disabled),
    }
    table.set_header(header);
    table
}

/// A level in its colour.
pub(super) fn level(level: Level) -> String {
    let style = match level {
        Level::Critical => AnsiColor::BrightRed.on_default().bold(),
        Level::High => AnsiColor::Red.on_default(),
        Level::Medium => AnsiColor::Yellow.on_default(),
        Level::Low => AnsiColor::Cyan.on_default(),
        Level::Informational => Style::new(),
    };
    format!("{style}{level}{style:#}")
}
