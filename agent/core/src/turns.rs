//! Turns of a connection: runs of calls in one direction, numbered by the kernel side (`autospan_abi::Data::turn`). A hole
//! in the numbers tells how many requests and responses were lost whole, of which nothing else is left.

use autospan_abi::Direction;

/// A number that lies further back than this is that of a record that came late.
const AHEAD_MAX: u16 = u16::MAX / 2;

/// The last turn that was seen.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    number: u16,
    direction: Option<Direction>,
}

/// Turns of which no record came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Direction of the first of them; they alternate.
    first: Direction,
    count: u16,
}

impl Turns {
    /// A record of turn `number` came. A single missing turn is not reported: two CPUs may have written their records in
    /// the wrong order. If it was lost, the streams tell soon enough.
    pub(crate) fn pass(&mut self, number: u16, direction: Direction) -> Option<Missing> {
        let missing = number.wrapping_sub(self.number).wrapping_sub(1);
        if number == self.number || missing > AHEAD_MAX {
            return None;
        }
        (self.number, self.direction) = (number, Some(direction));
        let first = if missing.is_multiple_of(2) { direction } else { opposite(direction) };
        (missing > 1).then_some(Missing { first, count: missing })
    }

    /// The connection was closed after turn `number`.
    pub(crate) fn close(&mut self, number: u16) -> Option<Missing> {
        let count = number.wrapping_sub(self.number);
        let first = opposite(self.direction?);
        (count > 0 && count <= AHEAD_MAX).then_some(Missing { first, count })
    }
}

impl Missing {
    /// Requests that are missing together with their responses, on a connection whose requests have direction `request`.
    pub(crate) fn exchanges(self, request: Direction) -> u16 {
        if self.first == request { self.count / 2 } else { (self.count - 1) / 2 }
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Inbound, Outbound};

    fn after(seen: &[(u16, Direction)]) -> Turns {
        let mut turns = Turns::default();
        for (number, direction) in seen {
            turns.pass(*number, *direction);
        }
        turns
    }

    #[test]
    fn turns_in_a_row_miss_nothing() {
        let mut turns = Turns::default();
        for (number, direction) in [(1, Inbound), (1, Inbound), (2, Outbound), (3, Inbound)] {
            assert_eq!(turns.pass(number, direction), None);
        }
        assert_eq!(turns.close(3), None);
    }

    #[test]
    fn whole_exchanges_are_counted() {
        // Seen: a request. Lost: its response, an exchange, a request. Seen: a response.
        let missing = after(&[(1, Inbound)]).pass(6, Outbound);
        assert_eq!(missing, Some(Missing { first: Outbound, count: 4 }));
        assert_eq!(missing.map(|m| m.exchanges(Inbound)), Some(1));
        // Seen: a response. Lost: two exchanges. Seen: a request.
        assert_eq!(after(&[(2, Outbound)]).pass(7, Inbound).map(|m| m.exchanges(Inbound)), Some(2));
        // A client's exchanges begin with what it writes.
        assert_eq!(after(&[(2, Inbound)]).pass(7, Outbound).map(|m| m.exchanges(Outbound)), Some(2));
    }

    #[test]
    fn two_records_in_the_wrong_order_are_no_loss() {
        let mut turns = after(&[(1, Inbound)]);
        assert_eq!(turns.pass(3, Inbound), None);
        assert_eq!(turns.pass(2, Outbound), None);
        assert_eq!(turns.pass(4, Outbound), None);
    }

    #[test]
    fn the_close_tells_of_what_was_lost_last() {
        assert_eq!(after(&[(2, Outbound)]).close(6).map(|m| m.exchanges(Inbound)), Some(2));
        assert_eq!(after(&[(1, Inbound)]).close(2).map(|m| m.exchanges(Inbound)), Some(0));
        assert_eq!(Turns::default().close(4), None, "nobody knows what that connection was");
    }

    #[test]
    fn late_records_and_sources_without_numbers_miss_nothing() {
        assert_eq!(after(&[(5, Inbound)]).pass(4, Outbound), None);
        assert_eq!(after(&[(0, Inbound)]).pass(0, Outbound), None);
        assert_eq!(after(&[(0, Inbound)]).close(0), None);
    }

    #[test]
    fn numbers_wrap() {
        let mut turns = Turns { number: u16::MAX, direction: Some(Outbound) };
        assert_eq!(turns.pass(0, Inbound), None);
        assert_eq!(turns.pass(5, Outbound).map(|m| m.exchanges(Inbound)), Some(1));
    }
}
