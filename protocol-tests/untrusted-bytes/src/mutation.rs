//! Small damage to valid inputs, from a seed, as a stand-in for a fuzzer where there is none.

use fastrand::Rng;

/// Values at which lengths and counts tip over.
const EDGES: [i64; 12] =
    [-1, 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, i64::MAX];

/// Damages `input` in one to four places: bytes changed, integers replaced by edge values, spans cut out, repeated,
/// inserted or copied, the end cut off. The result is at most some hundred bytes longer.
pub fn mutate(input: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..=4) {
        let length = input.len();
        let at = random.usize(0..=length);
        let span = random.usize(1..=32).min(length - at);
        match random.u8(0..9) {
            0 if at < length => input[at] ^= 1 << random.u8(0..8),
            1 if at < length => input[at] = random.u8(..),
            2 => overwrite(input, at, &EDGES[random.usize(0..EDGES.len())].to_be_bytes()[8 - (1 << random.u8(0..4))..]),
            // The longest unsigned varint, and one that does not end.
            3 => overwrite(input, at, if random.bool() { &[0xff, 0xff, 0xff, 0xff, 0x07] } else { &[0xff; 10] }),
            4 => drop(input.drain(at..at + span)),
            5 => {
                let copy = input[at..at + span].to_vec();
                let to = random.usize(0..=length);
                input.splice(to..to, copy);
            }
            6 => {
                let inserted: Vec<u8> = (0..random.usize(1..=16)).map(|_| random.u8(..)).collect();
                input.splice(at..at, inserted);
            }
            7 => {
                let copy = input[at..at + span].to_vec();
                overwrite(input, random.usize(0..=length), &copy);
            }
            8 if random.u8(0..4) == 0 => input.truncate(at),
            _ => {}
        }
    }
}

/// Puts `bytes` over what stands at `at`, as far as there is something.
fn overwrite(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (old, new) in input[at..].iter_mut().zip(bytes) {
        *old = *new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_input_can_be_damaged_and_a_seed_repeats() {
        for seed in 0..1000 {
            let original: Vec<u8> = (0..seed % 100).map(|byte| byte as u8).collect();
            let (mut once, mut twice) = (original.clone(), original.clone());
            mutate(&mut once, &mut Rng::with_seed(seed));
            mutate(&mut twice, &mut Rng::with_seed(seed));
            assert_eq!(once, twice);
            assert!(once.len() <= original.len() + 4 * 32);
        }
    }
}
