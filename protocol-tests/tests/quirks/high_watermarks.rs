//! Offsets that cannot be.

use std::time::Duration;

use ottla::TopicPartition;
use ottla_broker::Fault;

use crate::setup::{PARTITIONS, Seen, Setup, TOPIC, all_at};

/// Bufstream before 0.1.3 said 0 where it did not know an offset; a restored broker may have gone back. Nobody is sent back
/// by that: neither is anything handed out again, nor is there a reset.
#[tokio::test(start_paused = true)]
async fn high_watermarks_of_zero_take_nobody_back() {
    let setup = Setup::start().await;
    setup.produce(2).await;
    let (mut member, mut seen) = (setup.member(), Seen::default());
    seen.read_to(&mut member, 2).await;
    member.commit_sync().await.unwrap();
    setup.cluster.faults().inject(Fault::zero_high_watermarks().always());
    for end in 3..6 {
        setup.produce(1).await;
        seen.read_to(&mut member, end).await;
        assert_eq!(seen.poll_for(&mut member, Duration::from_secs(20)).await, 0);
        for partition in (0..PARTITIONS).map(|partition| TopicPartition::new(TOPIC, partition)) {
            assert_eq!(member.lag(&partition).unwrap(), Some(0), "not below zero");
            assert_eq!(member.position_now(&partition).unwrap(), Some(end));
        }
        member.commit_sync().await.unwrap();
        assert_eq!(setup.committed().await, all_at(end));
    }
    member.close().await.unwrap();
    // Who comes next goes on from there, too.
    let mut next = setup.member();
    setup.produce(1).await;
    seen.read_to(&mut next, 6).await;
    next.close().await.unwrap();
}
