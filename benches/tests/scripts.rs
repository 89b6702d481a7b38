//! What README.md and the plots say is what the results say: they are made from them, and never by hand.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A script beside this crate's manifest, or nothing where there is no Python to run it.
fn script(name: &str) -> Option<Command> {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("not checked: {name}, which needs python3");
        return None;
    }
    let mut command = Command::new("python3");
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(folder().join(name));
    Some(command)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

#[test]
fn the_tables_of_the_readme_are_those_of_the_results() {
    let Some(mut tables) = script("tables") else { return };
    let checked = tables.arg("--check").output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn the_plots_are_those_of_the_results() {
    let Some(mut plot) = script("plot") else { return };
    let drawn = std::env::temp_dir().join(format!("ottla-plots-{}", std::process::id()));
    let output = plot.arg("--to").arg(&drawn).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in std::fs::read_dir(&drawn).unwrap() {
        let file = file.unwrap();
        let kept = std::fs::read_to_string(folder().join("plots").join(file.file_name())).unwrap_or_default();
        assert!(std::fs::read_to_string(file.path()).unwrap() == kept, "{:?}: benches/plot", file.file_name());
    }
    std::fs::remove_dir_all(drawn).unwrap();
}
