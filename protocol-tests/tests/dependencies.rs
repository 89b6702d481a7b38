//! What the client pulls in: permissive licences only, no crate twice, and none that compiles C.
//!
//! Read from `cargo metadata`, over what `ottla` and the `ottla` command need to build and run on any platform; what only
//! tests and benches need is not shipped. `.ci/no-c` proves the last point by building.

#![allow(clippy::unwrap_used, reason = "everything here belongs to tests, where what fails is the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use serde_json::Value;

/// Licences under which everybody may use what depends on us.
const PERMISSIVE: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "BSL-1.0",
    "Unicode-3.0",
    "CC0-1.0",
    "Unlicense",
    "MIT-0",
];

/// Crates that compile C, C++ or assembler, or exist to bind to what does.
const COMPILERS: &[&str] =
    &["cc", "cmake", "bindgen", "nasm-rs", "pkg-config", "vcpkg", "autotools", "ring", "aws-lc-rs", "openssl"];

/// Declarations of what the platform has (a browser, for `js-sys`); nothing is compiled for them.
const DECLARATIONS: &[&str] =
    &["core-foundation-sys", "js-sys", "security-framework-sys", "windows-sys", "linux-raw-sys"];

struct Package {
    name: String,
    version: String,
    licence: String,
    is_ours: bool,
}

/// The packages that the given ones need to build and run.
fn shipped(roots: &[&str]) -> Vec<Package> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = list(&metadata["packages"]);
    let nodes = list(&metadata["resolve"]["nodes"]);
    let nodes = nodes.iter().map(|node| (text(&node["id"]), node)).collect::<BTreeMap<_, _>>();
    let is_root = |package: &&Value| package["source"].is_null() && roots.contains(&&*text(&package["name"]));
    let mut open = packages.iter().filter(is_root).map(|package| text(&package["id"])).collect::<Vec<_>>();
    assert_eq!(open.len(), roots.len(), "the workspace has {roots:?}");
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        let node = nodes[&id];
        if !reached.insert(id) {
            continue;
        }
        for dependency in list(&node["deps"]) {
            // The kind of a normal dependency is null.
            if list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"] != "dev") {
                open.push(text(&dependency["pkg"]));
            }
        }
    }
    let packages = packages.iter().filter(|package| reached.contains(&text(&package["id"])));
    packages
        .map(|package| Package {
            name: text(&package["name"]),
            version: text(&package["version"]),
            licence: text(&package["license"]),
            is_ours: package["source"].is_null(),
        })
        .collect()
}

/// Whether an SPDX expression can be met with permissive licences alone. Older manifests write `/` for OR.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace(['(', ')'], " ").replace('/', " OR ");
    // AND binds tighter, so one alternative suffices if each of its parts does. Parentheses around ORs within an AND would
    // make this too strict, never too lax, for the expressions that occur.
    expression.split(" OR ").any(|alternative| {
        alternative.split(" AND ").all(|licence| {
            let licence = licence.trim();
            PERMISSIVE.contains(&licence.split(" WITH ").next().unwrap_or_default())
        })
    })
}

fn compiles_c(name: &str) -> bool {
    COMPILERS.contains(&name)
        || name.starts_with("openssl-") && name != "openssl-probe"
        || name.ends_with("-sys") && !DECLARATIONS.contains(&name)
}

#[test]
fn every_licence_is_permissive() {
    let packages = shipped(&["ottla", "ottla-cli", "ottla-broker"]);
    assert!(packages.len() > 20, "the tree was read");
    let others = packages.iter().filter(|package| !is_permissive(&package.licence));
    let others = others.map(|package| format!("{} {}: {:?}", package.name, package.version, package.licence));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn licences_that_are_not_permissive_are_told_apart() {
    for permissive in [
        "MIT",
        "MIT OR Apache-2.0",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "GPL-3.0 OR MIT",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_permissive(permissive), "{permissive}");
    }
    for other in ["", "GPL-3.0", "AGPL-3.0-only", "LGPL-2.1 AND MIT", "MPL-2.0", "Proprietary"] {
        assert!(!is_permissive(other), "{other}");
    }
}

#[test]
fn no_crate_is_there_twice() {
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for package in shipped(&["ottla"]) {
        versions.entry(package.name).or_default().push(package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    // Each would cost users a build and a copy. One that cannot be helped gets an exception here, with its reason.
    assert_eq!(versions, BTreeMap::new());
}

#[test]
fn no_crate_compiles_c() {
    let compilers = shipped(&["ottla", "ottla-cli", "ottla-broker"]);
    let compilers = compilers.iter().filter(|package| compiles_c(&package.name)).map(|package| &package.name);
    assert_eq!(compilers.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn crates_that_compile_c_are_told_apart() {
    for name in ["cc", "zstd-sys", "ring", "openssl", "openssl-src", "libz-ng-sys", "aws-lc-sys"] {
        assert!(compiles_c(name), "{name}");
    }
    for name in ["libc", "windows-sys", "openssl-probe", "zlib-rs"] {
        assert!(!compiles_c(name), "{name}");
    }
}

#[test]
fn our_own_crates_take_their_licence_and_oldest_rust_from_the_workspace() {
    let ours = shipped(&["ottla", "ottla-cli", "ottla-broker"]);
    let ours = ours.iter().filter(|package| package.is_ours).collect::<Vec<_>>();
    assert!(ours.len() >= 10);
    for package in ours {
        assert_eq!(package.licence, "MIT OR Apache-2.0", "{}", package.name);
    }
}
