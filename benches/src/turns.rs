//! In which order peers take their turns. Where one stands in a round, and whom it follows, must say nothing
//! about who it is: what the machine does at the beginning of a round, and what one peer leaves behind, reach
//! all alike.

/// The order of `peers` in that round, by their numbers; rounds count from 0.
///
/// Each second round is the one before it the other way round, so any two peers stand in either order equally
/// often, but for one when the number of rounds is odd. A pair of rounds begins one further on than the pair
/// before, in a row that goes out from the first to both sides (0, last, 1, last but one, …), a balanced
/// Latin square: over `peers` rounds (twice as many, if `peers` is odd) each stands in each place, and
/// directly behind each other one, equally often.
pub(crate) fn order(peers: usize, round: usize) -> Vec<usize> {
    let place = |at: usize| if at.is_multiple_of(2) { at / 2 } else { peers - at.div_ceil(2) };
    let mut order: Vec<usize> = (0..peers).map(|at| (place(at) + round / 2) % peers).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::order;

    /// How often what `of` takes from the order of a round occurs in that many rounds.
    fn counts<K: Ord>(peers: usize, rounds: usize, of: impl Fn(&[usize]) -> Vec<K>) -> BTreeMap<K, usize> {
        let mut counts = BTreeMap::new();
        for round in 0..rounds {
            for key in of(&order(peers, round)) {
                *counts.entry(key).or_default() += 1;
            }
        }
        counts
    }

    fn places(order: &[usize]) -> Vec<(usize, usize)> {
        order.iter().copied().enumerate().collect()
    }

    fn neighbours(order: &[usize]) -> Vec<(usize, usize)> {
        order.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }

    fn pairs(order: &[usize]) -> Vec<(usize, usize)> {
        let behind =
            |(at, peer): (usize, &usize)| order[at + 1..].iter().map(|other| (*peer, *other)).collect();
        order.iter().enumerate().flat_map(|each| -> Vec<_> { behind(each) }).collect()
    }

    #[test]
    fn every_peer_takes_one_turn_in_a_round() {
        for peers in 0..14 {
            for round in 0..30 {
                let mut all = order(peers, round);
                all.sort_unstable();
                assert_eq!(all, (0..peers).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn any_two_peers_stand_in_either_order_equally_often_whatever_the_number_of_rounds() {
        for peers in 2..14 {
            for rounds in 1..30 {
                let counts = counts(peers, rounds, pairs);
                for (first, second) in pairs(&order(peers, 0)) {
                    let of = |pair| counts.get(&pair).copied().unwrap_or(0);
                    let (before, behind) = (of((first, second)), of((second, first)));
                    assert!(
                        before.abs_diff(behind) <= rounds % 2,
                        "{peers} peers, {rounds} rounds: {counts:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn each_peer_has_each_place_and_each_other_peer_before_it_equally_often() {
        for peers in 2..14 {
            let (rounds, each) = if peers % 2 == 0 { (peers, 1) } else { (2 * peers, 2) };
            let (places, neighbours) = (counts(peers, rounds, places), counts(peers, rounds, neighbours));
            assert_eq!(places.len(), peers * peers);
            assert_eq!(neighbours.len(), peers * (peers - 1));
            assert!(places.values().chain(neighbours.values()).all(|count| *count == each), "{peers} peers");
        }
    }

    #[test]
    fn in_few_rounds_no_peer_keeps_a_place() {
        for peers in 3..14 {
            assert!(counts(peers, 5, places).values().all(|count| *count <= 2), "{peers} peers");
        }
    }
}
