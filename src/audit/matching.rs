//! Which points can be given to which intervals, each to one: a maximum matching.

/// An interval with both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Its begin.
    pub from: i64,
    /// Its end.
    pub to: i64,
}

/// For each point the interval that it is given to, at most one point to an interval, and as many points as possible.
///
/// Greedy: the points in order, each to the open interval that ends first. Since intervals are convex, that is a maximum
/// matching (the exchange argument of earliest-deadline scheduling).
#[must_use]
pub fn greedy(points: &[i64], intervals: &[Interval]) -> Vec<Option<usize>> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by_key(|index| points.get(*index).copied());
    let mut by_begin: Vec<usize> = (0..intervals.len()).collect();
    by_begin.sort_by_key(|index| intervals.get(*index).map(|interval| interval.from));
    let mut coming = by_begin.into_iter().peekable();
    let mut open: std::collections::BTreeSet<(i64, usize)> = std::collections::BTreeSet::new();
    let mut given = vec![None; points.len()];
    for index in order {
        let Some(point) = points.get(index) else { continue };
        while let Some(next) =
            coming.peek().and_then(|next| intervals.get(*next).filter(|i| i.from <= *point))
        {
            let Some(number) = coming.next() else { break };
            open.insert((next.to, number));
        }
        while open.first().is_some_and(|(to, _)| to < point) {
            open.pop_first();
        }
        if let (Some((_, number)), Some(slot)) = (open.pop_first(), given.get_mut(index)) {
            *slot = Some(number);
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_takes_the_interval_that_ends_first() {
        let intervals =
            [Interval { from: 0, to: 10 }, Interval { from: 0, to: 5 }, Interval { from: 4, to: 6 }];

        assert_eq!(greedy(&[5, 1, 8], &intervals), [Some(2), Some(1), Some(0)]);
        assert_eq!(greedy(&[11], &intervals), [None]);
    }
}
