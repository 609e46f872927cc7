use super::*;
use crate::{
    store::Source,
    worker::{seen::Look, ticket::Transaction},
};

fn item(seq: i64) -> Item {
    let json = format!(
        r#"{{"event_id":"${seq}","room_id":"!r:x","sender":"@u:x","type":"m.x","content":{{}}}}"#
    );
    let raw = serde_json::value::RawValue::from_string(json).expect("JSON");
    let look = Look {
        source: Source::any(0),
        at: 0,
        found: false,
    };
    Item {
        event: Arc::new(Event::decode(&raw).expect("an event")),
        direction: Direction::Inbound,
        received: 0,
        copy: false,
        look,
        transaction: Transaction::new(seq, 1),
    }
}

fn all(queue: &mut Queue) -> Vec<i64> {
    queue.take(99, 0);
    std::iter::from_fn(|| queue.next(0))
        .map(|item| item.transaction.seq())
        .collect()
}

#[test]
fn what_was_thrown_out_comes_again_in_order() {
    let mut queue = Queue::new(0);
    for seq in 1..=9 {
        assert!(queue.push(item(seq), false, 4));
    }
    assert_eq!(queue.take(3, 0).len(), 3);
    assert_eq!(queue.next(0).map(|item| item.transaction.seq()), Some(1));
    assert_eq!(queue.shed(PATIENCE - 1, 99), 0, "it goes on");
    assert_eq!(queue.shed(PATIENCE, 99), 8);
    assert!(queue.next(PATIENCE).is_none() && queue.is_empty());
    assert!(!queue.push(item(10), false, 4), "it is behind");
    assert_eq!(queue.asks_from(), None);
    assert!(queue.ask() && !queue.ask());
    assert_eq!(queue.asks_from(), Some(2));
    // The dispatcher is past what it lacks: the next time.
    queue.take_part(2);
    assert!(!queue.takes_part());
    queue.take_part(1);
    let taken = |queue: &mut Queue, after: i64| {
        (after + 1..=10)
            .filter(|seq| queue.push(item(*seq), true, 4))
            .collect::<Vec<_>>()
    };
    assert_eq!(taken(&mut queue, 1), [2, 3, 4, 5]);
    queue.caught_up();
    assert!(queue.is_behind(), "its share was full");
    assert_eq!(all(&mut queue), [2, 3, 4, 5]);
    assert!(queue.ask());
    queue.take_part(5);
    assert_eq!(taken(&mut queue, 5), [6, 7, 8, 9]);
    assert_eq!(all(&mut queue), [6, 7, 8, 9]);
    assert!(queue.ask());
    queue.take_part(9);
    assert_eq!(taken(&mut queue, 9), [10]);
    queue.caught_up();
    assert!(!queue.is_behind() && queue.push(item(11), false, 4));
    assert_eq!(all(&mut queue), [10, 11]);
}

#[test]
fn a_transaction_that_is_longer_than_the_share_comes_whole() {
    let mut queue = Queue::new(0);
    for seq in [1, 2, 2, 2, 3] {
        queue.push(item(seq), false, 1);
    }
    queue.take(1, 0);
    queue.next(0);
    queue.shed(PATIENCE, 1);
    queue.ask();
    queue.take_part(1);
    for (seq, taken) in [(2, true), (2, true), (2, true), (3, false)] {
        assert_eq!(queue.push(item(seq), true, 1), taken, "{seq}");
    }
    assert_eq!(all(&mut queue), [2, 2, 2]);
    // Another lane asks for what this one had: it closes its part of that again.
    assert!(queue.push(item(2), true, 1) && !queue.push(item(3), true, 1));
    assert_eq!(all(&mut queue), [2]);
    queue.ask();
    assert_eq!(queue.asks_from(), Some(3));
}

#[test]
fn who_broke_off_asks_for_all_but_what_broke_it() {
    let mut queue = Queue::new(0);
    for seq in 3..=9 {
        queue.push(item(seq), false, 4);
    }
    queue.take(3, 0);
    queue.next(0);
    queue.next(0);
    let (gone, begun) = queue.break_off();
    assert_eq!(gone, 6);
    assert!(begun.is_some_and(|begun| begun.event.event_id == "$4"));
    assert!(queue.is_behind() && queue.waiting() == 0 && queue.ask());
    assert_eq!(
        queue.asks_from(),
        Some(0),
        "also for what it may not have written"
    );
    queue.take_part(-1);
    assert!(queue.takes_part());
}

#[test]
fn what_was_noted_or_fetched_is_counted_once() {
    let mut queue = Queue::new(0);
    queue.push(item(1), false, 4);
    queue.push(item(2), false, 4);
    queue.take(2, 0);
    queue.next(0);
    queue.noted();
    let fetched = item(9).event;
    queue.begin(Direction::Outbound, &fetched);
    let (gone, begun) = queue.break_off();
    assert_eq!(gone, 1, "the one that waits");
    let begun = begun.expect("it was about something");
    assert_eq!(
        (&begun.event.event_id, begun.direction),
        (&fetched.event_id, Direction::Outbound)
    );
    assert!(queue.break_off().1.is_none());
}

#[test]
fn what_comes_later_is_not_lacking() {
    let mut queue = Queue::new(0);
    for seq in 3..=5 {
        queue.push(item(seq), false, 9);
    }
    queue.take(1, 0);
    assert!(queue.lacks(3) && !queue.lacks(2), "in the hand");
    queue.next(0);
    assert!(queue.lacks(4) && !queue.lacks(3), "begun is not lacking");
    queue.shed(PATIENCE, 9);
    assert!(queue.lacks(4) && !queue.lacks(3), "in the inbox alone");
}

#[test]
fn who_goes_on_keeps_a_share() {
    let mut queue = Queue::new(0);
    for seq in 1..=20 {
        queue.push(item(seq), false, 4);
    }
    queue.take(3, 0);
    assert_eq!(queue.shed(1, 4), 16);
    assert!(queue.is_behind());
    assert_eq!(queue.hand.len() + queue.items.len(), 4);
    // Waiting for a turn is nobody's fault.
    queue.moves(None);
    assert_eq!(queue.shed(u64::MAX, 4), 0);
}

#[test]
fn what_is_stored_stays_so_until_the_lane_has_it() {
    let mut queue = Queue::new(0);
    let source = Source::any;
    let copy = |seq: i64, number: u8| {
        let mut item = item(seq);
        item.copy = true;
        item.look.source = source(number);
        item
    };
    queue.stored(&[source(1), source(2)]);
    for number in 1..=3 {
        queue.push(copy(7, number), false, 4);
    }
    queue.take(2, 0);
    queue.next(0);
    let all = |queue: &Queue| [1, 2, 3].map(|number| queue.has_copy(source(number)));
    assert_eq!(all(&queue), [false, true, true]);
    queue.break_off();
    assert_eq!(all(&queue), [false, true, true], "they are in the inbox");
    assert!(!queue.push(copy(9, 1), false, 4));
    assert_eq!(all(&queue), [true; 3], "so is this");
}
