//! JoinGroup and SyncGroup wait for the other members: their group has the answer, some time.

use ottla_wire::ErrorCode;
use ottla_wire::messages::{JoinGroupResponse, SyncGroupResponse};

use super::{AnyResponse, Context, Outcome, Waiting, WaitingRequest};
use crate::group::{Reply, ReplyId};
use crate::state::{Awaited, ClusterState};

/// A request that a group answers.
#[derive(Debug)]
pub(crate) struct AwaitedReply {
    reply: ReplyId,
    version: i16,
    /// An injected error that takes the answer's place.
    answered_with: Option<ErrorCode>,
}

impl AwaitedReply {
    /// The request waits, however long that takes: it is the group that counts the time.
    pub(super) fn wait(context: &Context, reply: ReplyId) -> Outcome {
        let answered_with = context.whole_answered_with();
        let request = WaitingRequest::Reply(Self { reply, version: context.version, answered_with });
        Outcome::Wait(Waiting { until: None, awaited: vec![Awaited::Reply(reply)], request })
    }

    /// The answer, if the group has given it.
    pub(super) fn try_answer(&self, state: &mut ClusterState) -> Option<AnyResponse> {
        Some(match (state.take_reply(self.reply)?, self.answered_with) {
            (Reply::Join(response), None) => AnyResponse::JoinGroup(joined(self.version, response)),
            (Reply::Join(response), Some(error_code)) => {
                let response = JoinGroupResponse { error_code, member_id: response.member_id, ..Default::default() };
                AnyResponse::JoinGroup(joined(self.version, response))
            }
            (Reply::Sync(response), None) => AnyResponse::SyncGroup(response),
            (Reply::Sync(_), Some(error_code)) => {
                AnyResponse::SyncGroup(SyncGroupResponse { error_code, ..Default::default() })
            }
        })
    }
}

/// The answer to a JoinGroup in the form of a version: before 7 it cannot say that there is no protocol.
pub(super) fn joined(version: i16, response: JoinGroupResponse) -> JoinGroupResponse {
    let protocol_name =
        if version < 7 { Some(response.protocol_name.unwrap_or_default()) } else { response.protocol_name };
    JoinGroupResponse { protocol_name, ..response }
}
