//! Writes the seeds of every fuzz target, as files of a corpus: `seed_corpus FOLDER`.
//!
//! A file is named by its content, so that writing them again changes nothing, and an input over 64 KiB is left out:
//! fuzzing gets nowhere with those.

use std::path::Path;
use std::process::ExitCode;

use protocol_tests::seeds;

const MAX_INPUT_BYTES: usize = 64 * 1024;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: seed_corpus FOLDER");
        return ExitCode::from(2);
    };
    match write(Path::new(&folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seed_corpus: {}: {error}", Path::new(&folder).display());
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> std::io::Result<()> {
    for seeds in seeds::all() {
        let corpus = folder.join(seeds.property);
        std::fs::create_dir_all(&corpus)?;
        for input in seeds.inputs.iter().filter(|input| input.len() <= MAX_INPUT_BYTES) {
            std::fs::write(corpus.join(format!("seed-{:016x}", digest(input))), input)?;
        }
    }
    Ok(())
}

/// FNV-1a: enough to tell the seeds apart, and the same on every machine.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
