//! The README's generated parts, and its cookbook run through the real program.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use lrsh::grammar::{Category, Row, table};
use sha2::{Digest, Sha256};

use crate::kit::shell::Home;
use crate::outer::fresh;

#[test]
fn its_lists_are_fresh() {
    let readme = include_str!("../../README.md");
    let readme = replaced(readme, "commands", &commands());
    fresh("README.md", &replaced(&readme, "cookbook", &cookbook()));
}

/// The text with what stands between two markers replaced.
fn replaced(text: &str, name: &str, made: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("the README has no marker {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("the README has no marker {end}"));
    format!("{before}{begin}\n{made}\n{end}{after}")
}

fn commands() -> String {
    let groups = [
        (Category::Looking, "Looking"),
        (Category::Files, "Files"),
        (Category::Doing, "Doing"),
        (Category::Session, "Session and terminal"),
    ];
    let mut text = String::new();
    for (category, title) in groups {
        text.push_str(&format!("| {title} | | role |\n|---|---|---|\n"));
        text.extend(table().rows().iter().filter(|row| row.category == category).map(command));
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

fn command(row: &Row) -> String {
    let names: Vec<String> = std::iter::once(&row.name).chain(&row.aliases).map(|name| format!("`{name}`")).collect();
    format!("| {} | {} | {} |\n", names.join(", "), row.summary, row.role.as_str())
}

/// The scripts of the cookbook, in order.
fn scripts() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outer/cookbook");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    scripts.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

fn cookbook() -> String {
    let recipe = |(path, text): &(PathBuf, String)| {
        let (title, lines) = text.split_once('\n').unwrap();
        let title = title.strip_prefix("# ").unwrap_or_else(|| panic!("{} does not begin with its title", path.display()));
        let stop = if title.ends_with('?') { "" } else { "." };
        format!("**{title}{stop}**\n\n```\n{lines}```\n")
    };
    scripts().iter().map(recipe).collect::<Vec<_>>().join("\n")
}

/// A machine in a folder: what the recipes look for.
struct Scene {
    folder: tempfile::TempDir,
    suspect: Child,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str, content: &[u8]| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        };
        place("www/upload.php", b"<?php system($_GET['c']); ?>\n");
        place("www/index.php", b"<?php phpinfo(); ?>\n");
        place("shm/.x", b"payload");
        place("tmp/.hidden", b"payload");
        place("tmp/large", &vec![0; 11 << 20]);
        place("bin/tool", b"#!/bin/sh\n");
        place("log/auth.log", b"Failed password for root\n");
        place("log/old.gz", b"\x1f\x8b");
        place("home/kim/.ssh/authorized_keys", b"ssh-ed25519 AAAA\n");
        // A program that runs though its file is gone.
        let image = folder.path().join("miner");
        let sleep = crate::kit::need::find("sleep").unwrap();
        std::fs::copy(sleep, &image).unwrap();
        let suspect = Command::new(&image).arg("600").spawn().unwrap();
        std::fs::remove_file(image).unwrap();
        Self { folder, suspect }
    }

    /// A recipe for this scene instead of a whole machine.
    fn staged(&self, recipe: &str) -> String {
        let mut staged = recipe.replace("4711", &self.suspect.id().to_string());
        let hidden = Sha256::digest(b"payload").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        staged = staged.replace("c2fd3e5b8ad4ca0fdcadb34f9c2b1cae7ba6a42ba1e0a0e15ed27e2e7a5ad8e0", &hidden);
        let folder = self.folder.path().display().to_string();
        let places = [
            // First: what the others put in stands below /tmp itself.
            (" /tmp", "tmp"),
            ("/var/www", "www"),
            ("/dev/shm", "shm"),
            ("/usr/bin", "bin"),
            ("/var/log", "log"),
            (" /home", "home"),
        ];
        for (path, name) in places {
            let blank = if path.starts_with(' ') { " " } else { "" };
            staged = staged.replace(path, &format!("{blank}{folder}/{name}"));
        }
        staged
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.suspect.kill();
        let _ = self.suspect.wait();
    }
}

/// Runs a recipe; what it says.
fn run(home: &Home, scene: &Scene, name: &str) -> String {
    let (path, text) = scripts().into_iter().find(|(path, _)| path.ends_with(name)).unwrap();
    let checked = home.batch("").args(&["check", path.to_str().unwrap()]).run().code(0);
    assert_eq!(checked.out(), "");
    let script = home.work().join(name);
    std::fs::write(&script, scene.staged(&text)).unwrap();
    home.batch("").args(&[script.to_str().unwrap()]).run().code(0).out()
}

#[test]
fn every_recipe_does_what_it_says() {
    let (home, scene) = (Home::new(), Scene::new());
    let work = home.work();
    for folder in ["evidence", "logs"] {
        std::fs::create_dir(work.join(folder)).unwrap();
    }
    let pid = scene.suspect.id().to_string();
    let lines =
        |file: &str| std::fs::read_to_string(work.join(file)).unwrap_or_else(|error| panic!("{file}: {error}")).lines().count();

    run(&home, &scene, "01-snapshot.lrsh");
    assert!(lines("processes.jsonl") > 1);
    assert!(["connections.jsonl", "services.jsonl", "drivers.jsonl"].iter().all(|file| work.join(file).exists()));

    run(&home, &scene, "02-who-listens.lrsh");

    let said = run(&home, &scene, "03-deleted-image.lrsh");
    assert!(said.contains(&pid), "{said}");
    assert_eq!(std::fs::read_dir(work.join("evidence")).unwrap().count(), 1);

    let said = run(&home, &scene, "04-miner.lrsh");
    assert!(said.contains("sha256") && said.contains("600") && lines("suspect.json") > 1, "{said}");

    let said = run(&home, &scene, "05-web-shell.lrsh");
    assert!(said.contains("system($_GET") && said.contains("upload.php"), "{said}");
    assert!(!scene.folder.path().join("www/upload.php").exists());
    assert_eq!(std::fs::read_dir(work.join("evidence")).unwrap().count(), 2);

    let index = scene.folder.path().join("www/index.php");
    let before = std::fs::metadata(&index).unwrap();
    run(&home, &scene, "06-take-it-back.lrsh");
    let after = std::fs::metadata(&index).unwrap();
    assert_eq!((before.mode(), before.mtime(), before.len()), (after.mode(), after.mtime(), after.len()));

    let said = run(&home, &scene, "07-temporary-folders.lrsh");
    assert!([".x", ".hidden", "large"].iter().all(|name| said.contains(name)), "{said}");

    run(&home, &scene, "08-known-hash.lrsh");
    assert_eq!((lines("hits.jsonl"), lines("hashes.csv")), (1, 2));

    let said = run(&home, &scene, "09-logs.lrsh");
    assert!(said.contains("authorized_keys"), "{said}");
    assert!(work.join("logs/auth.log").exists() && work.join("logs/old.gz").exists());

    run(&home, &scene, "10-services.lrsh");
}
