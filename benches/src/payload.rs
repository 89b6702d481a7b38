//! The values that are produced: alike in every client that takes part, so that batches compress alike.
//!
//! A value is repetitions of 100 bytes of a record like a web server's log, with 16 hexadecimal digits a repetition
//! that vary; a value shorter than 64 bytes is such digits only. The digits come from splitmix64, and the last byte
//! always varies, so that a checksum of last bytes says something.

/// The seed of the programs for other clients, with which all write and read the same bytes.
pub const PAYLOAD_SEED: u64 = 42;

/// What 100 bytes look like before their varying digits are put in.
const TEMPLATE: &[u8; 100] =
    br#"{"user":"u-00000000","page":"/item/00000","ref":"/cat/000","agent":"Mozilla/5.0 (X11;Linux)","ok":1}"#;

/// Where in the template the digits of one draw stand.
const DIGIT_POSITIONS: [usize; 16] = [11, 12, 13, 14, 15, 16, 17, 18, 35, 36, 37, 38, 39, 54, 55, 56];

/// Values below this size have no room for the template.
const SMALLEST_FROM_TEMPLATE: usize = 64;

/// Makes values of one size, each unlike the last.
#[derive(Debug)]
pub struct Payload {
    state: u64,
    value: Vec<u8>,
}

impl Payload {
    /// Values of `size` bytes. The same seed gives the same values.
    pub fn new(size: usize, seed: u64) -> Self {
        Self { state: seed, value: TEMPLATE.iter().copied().cycle().take(size).collect() }
    }

    /// The next value.
    pub fn next_value(&mut self) -> &[u8] {
        if self.value.len() < SMALLEST_FROM_TEMPLATE {
            for start in (0..self.value.len()).step_by(16) {
                let draw = self.draw();
                for (place, byte) in self.value[start..].iter_mut().take(16).enumerate() {
                    *byte = digit(draw, place);
                }
            }
            return &self.value;
        }
        let mut last = 0;
        for start in (0..self.value.len()).step_by(TEMPLATE.len()) {
            last = self.draw();
            let repetition = &mut self.value[start..];
            for (place, position) in DIGIT_POSITIONS.iter().enumerate() {
                if let Some(byte) = repetition.get_mut(*position) {
                    *byte = digit(last, place);
                }
            }
        }
        if let Some(byte) = self.value.last_mut() {
            *byte = digit(last, 0);
        }
        &self.value
    }

    /// One step of splitmix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}

/// The hexadecimal digit at `place` of `draw`, counted from the lowest.
fn digit(draw: u64, place: usize) -> u8 {
    b"0123456789abcdef"[(draw >> (4 * place)) as usize & 15]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_differ_and_repeat_with_the_seed() {
        for size in [1, 10, 16, 63, 64, 100, 1024] {
            let mut payload = Payload::new(size, 42);
            let first = payload.next_value().to_vec();
            let second = payload.next_value().to_vec();
            assert_eq!((first.len(), second.len()), (size, size));
            if size > 1 {
                assert_ne!(first, second);
            }
            assert_eq!(Payload::new(size, 42).next_value(), first);
        }
    }

    #[test]
    fn a_large_value_keeps_the_template_around_its_digits() {
        let value = Payload::new(1024, 42).next_value().to_vec();
        assert!(value.starts_with(br#"{"user":"u-"#));
        assert_eq!(value[100..111], *br#"{"user":"u-"#);
    }
}
