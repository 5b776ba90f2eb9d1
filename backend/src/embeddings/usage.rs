//! How many tokens each input used, when the upstream names only the sum of a call.

/// Shares `total` out in proportion to `weights`: the shares always add up to `total`, and no
/// share is a whole token away from its exact part.
///
/// Exact where the weights are the tokens themselves (token lists) or stand alone (one input);
/// otherwise, with the weights being lengths in bytes, a fair guess.
pub fn share_out(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|&w| u128::from(w)).sum();
    let (mut seen, mut given) = (0_u128, 0_u64);
    // Each share is the difference of two rounded partial sums, so no remainder can be lost.
    let mut shares = Vec::with_capacity(weights.len());
    for (index, &weight) in weights.iter().enumerate() {
        seen += u128::from(weight);
        let (part, whole) = if sum == 0 {
            (index as u128 + 1, weights.len() as u128)
        } else {
            (seen, sum)
        };
        let until_here = u64::try_from(u128::from(total) * part / whole).unwrap_or(total);
        shares.push(until_here - given);
        given = until_here;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_input_gets_everything() {
        assert_eq!(share_out(17, &[3]), [17]);
        assert_eq!(share_out(17, &[0]), [17]);
    }

    #[test]
    fn token_lists_get_exactly_their_tokens() {
        assert_eq!(share_out(60, &[10, 20, 30]), [10, 20, 30]);
    }

    #[test]
    fn nothing_to_share_among_no_inputs() {
        assert_eq!(share_out(5, &[]), [] as [u64; 0]);
    }

    proptest! {
        #[test]
        fn shares_add_up(total in 0..u64::from(u32::MAX), weights in proptest::collection::vec(0..u64::from(u32::MAX), 1..100)) {
            prop_assert_eq!(share_out(total, &weights).iter().sum::<u64>(), total);
        }

        #[test]
        fn no_share_is_a_whole_token_off(total in 0..1_000_000_u64, weights in proptest::collection::vec(1..10_000_u64, 1..100)) {
            let sum: u64 = weights.iter().sum();
            for (share, weight) in share_out(total, &weights).into_iter().zip(weights) {
                let exact = total as f64 * weight as f64 / sum as f64;
                prop_assert!((share as f64 - exact).abs() < 1.0 + 1e-6);
            }
        }
    }
}
