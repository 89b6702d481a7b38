//! Whatever is asked in whatever order: the invariants hold, and every request has one answer.

use super::*;
use crate::group::Phase;

/// Does something at random, with ids few enough to meet.
fn step(fixture: &mut Fixture, random: &mut fastrand::Rng) {
    let known = fixture.group.members.keys().chain(fixture.group.pending.keys()).cloned().collect::<Vec<_>>();
    let member_id = match known.get(random.usize(..=known.len())) {
        Some(member_id) => member_id.clone(),
        None => "stranger".to_owned(),
    };
    let generation_id = fixture.group.generation_id - i32::from(random.u8(..8) == 0);
    match random.u8(..10) {
        0 | 1 => join(fixture, random, ""),
        2 | 3 => join(fixture, random, &member_id),
        4 | 5 => drop(fixture.handle_sync(&member_id, generation_id)),
        6 => drop(fixture.heartbeat(&member_id)),
        7 => drop(fixture.commit(&member_id, generation_id)),
        8 => drop(fixture.leave(&member_id)),
        _ => fixture.pass(REBALANCE.mul_f32(random.f32() / 4.0)),
    }
    fixture.writes_are_safe = random.bool();
    if !fixture.unsafe_writes.is_empty() && random.bool() {
        let written = fixture.unsafe_writes.remove(0);
        if random.u8(..4) == 0 {
            fixture.group.handle_write_failed(fixture.now, written, ErrorCode::CoordinatorNotAvailable);
        } else {
            fixture.group.handle_written(fixture.now, written);
        }
        fixture.carry_out();
    }
}

fn join(fixture: &mut Fixture, random: &mut fastrand::Rng, member_id: &str) {
    let join = fixture.request(member_id);
    let instance_id = random.bool().then(|| format!("instance-{}", random.u8(..3)));
    let of_member = fixture.group.members.get(member_id).and_then(|member| member.instance_id.clone());
    let names = [&["range"][..], &["range", "sticky"], &["sticky", "range"]];
    let join = Join {
        new_member_id: format!("member-{}", fixture.next_reply),
        instance_id: if member_id.is_empty() { instance_id } else { of_member },
        protocols: protocols(names[random.usize(..names.len())]),
        requires_known_member_id: random.bool(),
        can_skip_assignment: random.bool(),
        ..join
    };
    fixture.handle_join(join);
}

fn check(fixture: &Fixture) {
    let group = &fixture.group;
    if let Some(leader) = &group.leader {
        assert!(group.members.contains_key(leader), "the leader is a member");
    }
    assert_eq!(group.leader.is_none(), group.members.is_empty(), "who has members has a leader");
    for (instance_id, member_id) in &group.static_members {
        assert_eq!(group.members[member_id].instance_id.as_ref(), Some(instance_id));
    }
    for member in group.members.values() {
        assert!(member.instance_id.as_ref().is_none_or(|id| group.static_members.get(id) == Some(&member.id)));
        assert!(!group.pending.contains_key(&member.id), "whoever is a member is not on its way");
        match group.phase {
            Phase::PreparingRebalance(_) | Phase::Stable(_) => assert!(member.syncing.is_empty()),
            Phase::CompletingRebalance(_) => assert!(member.joining.is_empty()),
            Phase::Empty | Phase::Dead => panic!("an empty group has no members"),
        }
    }
    match &group.phase {
        Phase::CompletingRebalance(sync) | Phase::Stable(sync) => {
            assert!(sync.outstanding.iter().all(|member_id| group.members.contains_key(member_id)));
            let protocol = group.protocol_name.as_deref().expect("members go by something");
            assert!(group.members.values().all(|member| member.supports(protocol)));
        }
        Phase::PreparingRebalance(_) => assert!(group.next_deadline().is_some(), "it goes on by itself"),
        Phase::Empty | Phase::Dead => {}
    }
}

#[test]
fn the_invariants_hold_and_every_request_has_one_answer() {
    let mut generations = 0;
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let delay = Duration::from_secs(random.u64(..3));
        let mut fixture = Fixture::with(GroupLimits { initial_rebalance_delay: delay, max_size: 5 });
        for _ in 0..300 {
            step(&mut fixture, &mut random);
            check(&fixture);
        }
        generations += fixture.group.generation_id;
        fixture.group.end(ErrorCode::NotCoordinator);
        fixture.carry_out();
        assert_eq!(fixture.replies.len() as u64, fixture.next_reply, "seed {seed}");
    }
    assert!(generations > 1000, "{generations} generations are no walk");
}
