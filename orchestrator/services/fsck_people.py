"""Invariant 18: what people and signals have said, against what steps have made of it."""

from collections.abc import Iterator

from models.approval import Approval, ApprovalVote
from models.states import StepStatus
from orchestrator.services.fsck_record import Check, Record, Violation


def approvals_are_decided_once(record: Record) -> Iterator[Violation]:
    """18: an approval is asked for once, decided at most once, by its votes or by its time, and by none after it."""
    for approval in record.rows.approvals:
        votes = [vote for vote in record.rows.votes if vote.approval_id == approval.id]
        for sentence in (*_told(record, approval), *_decided(approval, votes), *_late(approval, votes)):
            yield record.broken(18, f"approval {approval.id}: {sentence}", approval.step)


def _told(record: Record, approval: Approval) -> Iterator[str]:
    events = [event for event in record.rows.events if (event.data or {}).get("approval") == approval.id]
    requested = [event for event in events if event.type == "approval.requested"]
    decided = [event for event in events if event.type == "approval.decided"]
    if len(requested) != 1:
        yield f"its events ask for it {len(requested)} times"
    if len(decided) != int(approval.decided_at is not None):
        yield f"its events decide it {len(decided)} times, its row says {approval.decision}"
    if decided and decided[0].data["decision"] != approval.decision:
        yield f"its event says {decided[0].data['decision']}, its row {approval.decision}"
    ended = [event.seq for event in decided]
    voted = [event.seq for event in events if event.type == "approval.voted"]
    if ended and voted and max(voted) > min(ended):
        yield f"a vote at event {max(voted)} came after its decision at event {min(ended)}"


def _decided(approval: Approval, votes: list[ApprovalVote]) -> Iterator[str]:
    against = sum(vote.decision == "rejected" for vote in votes)
    most = len(votes) - against
    if approval.expired or approval.decided_at is None:
        fits = against == 0 and most < approval.required
    elif approval.decision == "rejected":
        fits = against == 1
    else:
        fits = against == 0 and most == approval.required
    if not fits:
        state = "expired" if approval.expired else approval.decision or "undecided"
        yield f"it is {state} with {most} of {approval.required} votes for it and {against} against it"


def _late(approval: Approval, votes: list[ApprovalVote]) -> Iterator[str]:
    if approval.expires_at is None:
        return
    for vote in votes:
        if vote.clock_at > approval.expires_at:
            yield f"{vote.name} voted after its time was over"


def steps_do_as_was_said(record: Record) -> Iterator[Violation]:
    """18: an attempt that asked or waited for a signal succeeds by an approval, or by the one signal that it took."""
    for approval in record.rows.approvals:
        attempt = record.attempts.get((approval.no, approval.attempt))
        if attempt is None:
            yield record.broken(18, f"approval {approval.id} is of no attempt", approval.step)
        elif attempt.status == "success" and approval.decision != "approved" and not _by_other(record, approval.step):
            sentence = f"it succeeded, approval {approval.id} is {approval.decision or 'undecided'}"
            yield record.broken(18, sentence, approval.step)
    taken = {(signal.taken_no, signal.taken_attempt) for signal in record.rows.signals}
    for awaited in record.rows.awaited:
        of_it, path = (awaited.no, awaited.attempt), record.steps[awaited.no].path
        attempt = record.attempts.get(of_it)
        succeeded = attempt is not None and attempt.status == "success"
        if succeeded and of_it not in taken and not _by_other(record, path):
            yield record.broken(18, f"it succeeded without its signal {awaited.name}", path)
        if awaited.expired and of_it in taken:
            yield record.broken(18, f"its signal {awaited.name} was taken after its time", path)


def _by_other(record: Record, path: str) -> bool:
    """Whether an operator, or its `degrade`, completed the step in the place of what it waited for."""
    return any(
        event.type == "step.completed"
        and event.step == path
        and (event.actor is not None or event.data.get("degraded"))
        for event in record.rows.events
    )


def answers_are_taken(record: Record) -> Iterator[Violation]:
    """18: what is decided or there is made a step's outcome; the sweep of what is due does it (15 says when late)."""
    taken = {(signal.taken_no, signal.taken_attempt) for signal in record.rows.signals}
    decided = {(each.no, each.attempt) for each in record.rows.approvals if each.decided_at is not None}
    for step in record.rows.steps:
        of_it = (step.no, step.attempt)
        if step.status == StepStatus.WAITING and of_it in taken | decided and step.due_at is None:
            yield record.broken(18, "its answer is there and nothing is due", step.path)


PEOPLE: tuple[Check, ...] = (approvals_are_decided_once, steps_do_as_was_said, answers_are_taken)
