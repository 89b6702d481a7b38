//! Which of a topic's subscribers has the fewest partitions, while their numbers change.
//!
//! A tournament: each match is won by the lesser, the winner of all stands at the top, and a change only replays the
//! matches on its way up. Of members with as many the first wins, as in Java's sorted set.

/// See the module.
#[derive(Debug)]
pub(super) struct LeastLoaded {
    /// How many partitions who has. The match at `i` is between `2 * i` and `2 * i + 1`; subscribers fill the second
    /// half.
    matches: Vec<(u32, u32)>,
    subscribers: usize,
}

impl LeastLoaded {
    /// Of `subscribers`, ascending, each with the number of partitions that `counts` gives the member.
    pub(super) fn new(subscribers: &[u32], counts: &[u32]) -> Self {
        let mut matches = vec![(u32::MAX, u32::MAX); subscribers.len()];
        matches.extend(subscribers.iter().map(|member| (counts[*member as usize], *member)));
        for place in (1..subscribers.len()).rev() {
            matches[place] = matches[2 * place].min(matches[2 * place + 1]);
        }
        Self { matches, subscribers: subscribers.len() }
    }

    /// The member with the fewest.
    pub(super) fn first(&self) -> Option<u32> {
        self.matches.get(1).map(|(_, member)| *member)
    }

    /// The subscriber at `place` has `count` partitions now.
    pub(super) fn set(&mut self, place: usize, count: u32) {
        let mut place = self.subscribers + place;
        self.matches[place].0 = count;
        while place > 1 {
            place /= 2;
            self.matches[place] = self.matches[2 * place].min(self.matches[2 * place + 1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_those_with_the_fewest_is_always_at_the_top() {
        let mut random = fastrand::Rng::with_seed(3);
        for members in 0..40 {
            let subscribers: Vec<u32> = (0..members).map(|member| member * 2).collect();
            let mut counts: Vec<u32> = (0..members * 2).map(|_| random.u32(..5)).collect();
            let mut least_loaded = LeastLoaded::new(&subscribers, &counts);
            for _ in 0..50 {
                let expected = subscribers.iter().copied().min_by_key(|member| counts[*member as usize]);
                assert_eq!(least_loaded.first(), expected);
                let Some((place, member)) = random.choice(subscribers.iter().enumerate()) else { continue };
                counts[*member as usize] = random.u32(..5);
                least_loaded.set(place, counts[*member as usize]);
            }
        }
    }
}
