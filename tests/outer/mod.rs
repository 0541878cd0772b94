//! What lrsh is to the shell outside: its completion scripts, its manual, its help.

mod completion;
mod definitions;
mod help;
mod manual;
mod powershell;
mod readme;

use std::path::Path;

/// Holds a generated file that is committed to what the program makes now; `LRSH_REWRITE=1` writes it anew.
#[track_caller]
pub fn fresh(path: &str, made: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("LRSH_REWRITE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(kept, made, "{path} is not what the program makes: LRSH_REWRITE=1 cargo test");
}
