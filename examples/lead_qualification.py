"""The workflow of lead-qualification.yaml, written in Python.

orchestrator run examples/lead_qualification.py -i @examples/lead.json
"""

from orchestrator import Workflow

lead = Workflow(
    "lead-qualification",
    description="Capture a lead, research its company, score it, route it and notify the team.",
    duration="minutes",
    labels={"team": "sales"},
    timeout="10m",
    budget={"limit_cents": 50, "on_exceeded": "abort"},
    inputs={
        "type": "object",
        "required": ["company", "contact", "email"],
        "additionalProperties": False,
        "properties": {
            "company": {"type": "string", "minLength": 1, "maxLength": 200},
            "contact": {"type": "string", "minLength": 1, "maxLength": 200},
            "email": {"type": "string", "format": "email", "maxLength": 320},
            "title": {"type": "string", "maxLength": 200},
            "employees": {"type": "integer", "minimum": 1},
            "budget": {"type": "number", "minimum": 0},
            "country": {"type": "string", "maxLength": 100},
            "source": {"type": "string", "maxLength": 100},
            "message": {"type": "string", "maxLength": 5000},
        },
    },
    variables={"hot": 70, "warm": 40},  # the scores from which a lead is hot or warm
    # A gateway that is away for a moment is no reason to lose a lead.
    retry={"max_attempts": 3, "initial": "1s", "max": "30s", "policy": "on_transient_error"},
)

capture = lead.transform(
    "capture",
    name="Capture the lead",
    expression="""\
{
  "company": $trim(company),
  "contact": $trim(contact),
  "email": $lowercase($trim(email)),
  "domain": $lowercase($substringAfter($trim(email), "@")),
  "title": $exists(title) ? $trim(title) : "",
  "budget": $exists(budget) ? budget : null,
  "employees": $exists(employees) ? employees : null,
  "source": $exists(source) ? source : "unknown",
  "message": $exists(message) ? $trim(message) : ""
}
""",
)
enrich = lead.agent(
    "enrich",
    name="Research the company",
    agent="researcher",
    task={
        "title": f"Research {capture['company']}",
        "description": f"Find out what {capture['company']} ({capture['domain']}) does. "
        "Answer with one JSON object: industry, size, employees, summary.",
        "tags": ["lead", "research"],
    },
    timeout="60s",
    estimated_cost_cents=5,
)
score = lead.agent(
    "score",
    name="Score the lead",
    agent="scorer",
    task={
        "title": f"Score {capture['contact']} of {capture['company']}",
        "description": "Say how likely this lead is to buy. "
        "Answer with one JSON object: score (0 to 100) and reason.",
        "tags": ["lead", "score"],
    },
    timeout="60s",
    estimated_cost_cents=3,
)
route = lead.router(
    "route",
    name="Hot, warm or cold?",
    cases=[
        {"route": "hot", "when": "score.output.score >= var.hot"},
        {"route": "warm", "when": "score.output.score >= var.warm"},
    ],
    default="cold",
)
notify = lead.agent(
    "notify",
    name="Notify the team",
    agent="notifier",
    input_mapping={
        "company": capture["company"],
        "contact": capture["contact"],
        "industry": enrich["output"]["industry"].optional,
        "score": score["output"]["score"],
        "reason": score["output"]["reason"].optional,
        "tier": "{{score.output.score >= var.hot ? 'hot' : 'warm'}}",
    },
    task={
        "title": f"Notify the team of {capture['company']}",
        "description": "Write one line for the team that takes this lead. "
        "Answer with one JSON object: channel and message.",
        "tags": ["lead", "notify"],
    },
    timeout="60s",
    side_effects="internal",
    estimated_cost_cents=2,
)
file = lead.noop("file", name="File it for later")

capture >> [enrich, score] >> route
[route.route("hot"), route.route("warm")] >> notify
route.route("cold") >> file

lead.outputs(
    route="{{score.output.score >= var.hot ? 'hot' : score.output.score >= var.warm ? 'warm' : 'cold'}}",
    score=score["output"]["score"],
    reason=score["output"]["reason"].optional,
    industry=enrich["output"]["industry"].optional,
    note=notify["output"]["message"].optional,
)
