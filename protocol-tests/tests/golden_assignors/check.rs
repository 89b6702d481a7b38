//! What an assignment has to be, given what Java's answers were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ottla_coordinator::assignor::{GroupMember, MemberAssignment};
use ottla_wire::consumer_protocol::StickyUserData;
use protocol_tests::golden::Line;
use serde_json::Value;

use crate::case::Case;

type Partition = (Arc<str>, i32);

/// Checks an assignment in the way that the case allows for, and says which that was.
pub(crate) fn check(line: &Line, case: &Case, assigned: &[MemberAssignment]) -> Result<&'static str, String> {
    let ours: Vec<Vec<Partition>> = assigned.iter().map(partitions).collect();
    let claims: Vec<BTreeSet<Partition>> = case.members.iter().map(|member| claims(line, member)).collect();
    check_valid(line, case, &ours, &claims)?;
    if assigned.iter().any(|member| member.user_data.is_some()) {
        return Err("user data, which Java's assignors give to nobody".to_owned());
    }
    let is_faulty = line.find("error").is_some() || line.find("java_faults").is_some();
    let valid = line.find("valid");
    let judged = match valid {
        Some(valid) => valid,
        None if is_faulty => return Ok("valid"),
        None => &line.value,
    };
    check_bounds(judged, &ours, &claims)?;
    let java = || {
        let assignment = judged.get("assignment").unwrap_or_else(|| line.get("assignment"));
        let assignment = assignment.as_array().expect("an array");
        assignment.iter().map(|runs| case.partitions(runs)).collect::<Vec<_>>()
    };
    let how = judged["determinism"].as_str().expect("a string");
    match how {
        "exact" => compare(&ours, &java()).map(|()| "exact"),
        "set" => compare(&sorted(ours), &sorted(java())).map(|()| "set"),
        "invariant" => Ok("invariant"),
        _ => Err(format!("checked as {how:?}")),
    }
}

/// Each partition of a topic that is known and subscribed to has been given to one that subscribes to it. The
/// cooperative assignor may withhold what another member claims.
fn check_valid(
    line: &Line,
    case: &Case,
    ours: &[Vec<Partition>],
    claims: &[BTreeSet<Partition>],
) -> Result<(), String> {
    if ours.len() != case.members.len() {
        return Err(format!("{} members, not {}", ours.len(), case.members.len()));
    }
    let subscribed: Vec<BTreeSet<&str>> =
        case.members.iter().map(|member| member.subscription.topics.iter().collect()).collect();
    let wanted = case.by_place.iter().filter(|(topic, _)| subscribed.iter().any(|topics| topics.contains(&**topic)));
    let mut left: BTreeSet<Partition> =
        wanted.flat_map(|(topic, count)| (0..*count).map(|index| (topic.clone(), index))).collect();
    for (member, partitions) in ours.iter().enumerate() {
        for partition in partitions {
            if !left.remove(partition) {
                return Err(format!("{partition:?} does not exist, or was given twice"));
            }
            if !subscribed[member].contains(&*partition.0) {
                return Err(format!("{partition:?} was given to member {member}, who does not subscribe to it"));
            }
        }
    }
    let may_be_withheld = |partition: &Partition| {
        line.text("assignor") == "cooperative-sticky" && claims.iter().any(|claims| claims.contains(partition))
    };
    match left.iter().find(|partition| !may_be_withheld(partition)) {
        Some(partition) => Err(format!("{partition:?} was given to nobody")),
        None => Ok(()),
    }
}

fn check_bounds(judged: &Value, ours: &[Vec<Partition>], claims: &[BTreeSet<Partition>]) -> Result<(), String> {
    let most_uneven = judged["balance"][2].as_u64().expect("an integer");
    let unevenness = unevenness(ours);
    if unevenness > most_uneven {
        return Err(format!("uneven by {unevenness}, in Java by {most_uneven} at most"));
    }
    if let Some(kept) = judged.get("kept") {
        let least = kept[1].as_u64().expect("an integer");
        let ours = ours.iter().zip(claims).map(|(partitions, claims)| {
            partitions.iter().filter(|partition| claims.contains(partition)).count() as u64
        });
        let ours: u64 = ours.sum();
        if ours < least {
            return Err(format!("{ours} partitions kept, in Java {least} at least"));
        }
    }
    Ok(())
}

/// The sum over all pairs of members of by how many partitions they differ.
fn unevenness(ours: &[Vec<Partition>]) -> u64 {
    let pairs = ours.iter().enumerate().flat_map(|(place, one)| ours[..place].iter().map(move |other| (one, other)));
    pairs.map(|(one, other)| one.len().abs_diff(other.len()) as u64).sum()
}

/// What a member says that it had: for sticky in its user data, for the cooperative assignor in its subscription.
fn claims(line: &Line, member: &GroupMember) -> BTreeSet<Partition> {
    let claimed = match line.text("assignor") {
        "cooperative-sticky" => Some(member.subscription.owned_partitions.clone()),
        "sticky" => {
            let user_data = member.subscription.user_data.clone();
            user_data.and_then(|user_data| StickyUserData::decode(user_data).ok()).map(|data| data.partitions)
        }
        _ => None,
    };
    let claimed = claimed.unwrap_or_default();
    claimed.partitions().map(|(topic, partition)| (Arc::from(topic), partition)).collect()
}

fn partitions(assignment: &MemberAssignment) -> Vec<Partition> {
    assignment.partitions.iter().map(|partition| (partition.topic.clone(), partition.partition)).collect()
}

fn sorted(mut assigned: Vec<Vec<Partition>>) -> Vec<Vec<Partition>> {
    for partitions in &mut assigned {
        partitions.sort();
    }
    assigned
}

fn compare(ours: &[Vec<Partition>], java: &[Vec<Partition>]) -> Result<(), String> {
    let differing: BTreeMap<usize, _> =
        ours.iter().zip(java).enumerate().filter(|(_, (ours, java))| ours != java).collect();
    match differing.first_key_value() {
        None if ours.len() == java.len() => Ok(()),
        None => Err(format!("{} members, in Java {}", ours.len(), java.len())),
        Some((member, (ours, java))) => {
            Err(format!("{} members differ, the first is {member}:\n  ours {ours:?}\n  java {java:?}", differing.len()))
        }
    }
}
