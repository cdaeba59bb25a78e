"""The items of two reporting guidelines, in short words of our own, and what answers each.

CLAIM, 2024 update (Tejani et al., Radiology: Artificial Intelligence 2024) and TRIPOD+AI (Collins
et al., BMJ 2024). The numbers are those of the guidelines; the last word of a row names the
answer that a run can give, nothing where it cannot.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NOT_ESTABLISHED = "not established"


@dataclass(frozen=True)
class Item:
    """One item of a guideline."""

    number: str
    topic: str
    answer: str = ""


def _items(text: str) -> tuple[Item, ...]:
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return tuple(Item(*row) for row in rows)


CLAIM = _items("""
1 | AI named, with the kind of technology | technology
2 | structured abstract |
3 | background, intended use and role | purpose
4 | aims and hypotheses | aim
5 | prospective or retrospective | design
6 | goal of the study | goal
7 | sources of data | sources
8 | inclusion and exclusion | eligibility
9 | preprocessing | preprocessing
10 | choice of subsets | subset
11 | de-identification | deidentification
12 | missing data | missing
13 | image acquisition | acquisition
14 | how the reference standard was obtained | reference
15 | why this reference standard |
16 | who annotated |
17 | annotation of the test set | reference
18 | variability between and within raters | conflicts
19 | how data were parted | partition
20 | level at which parts are disjoint | disjoint
21 | intended sample size | sample_size
22 | the model | model
23 | software | software
24 | initialization | initialization
25 | training | training
26 | choice of the final model | selection
27 | ensembles | ensemble
28 | measures of performance | measures
29 | uncertainty | uncertainty
30 | robustness and sensitivity analysis | robustness
31 | explainability | explanation
32 | evaluation on internal data | internal
33 | testing on external data | external
34 | registration of a trial |
35 | numbers included and excluded | flow
36 | demographic and clinical characteristics of the parts | characteristics
37 | performance and uncertainty | performance
38 | estimates of accuracy and their precision | rates
39 | analysis of failures | failures
40 | limitations | limitations
41 | implications for practice | implications
42 | protocol and technical details | protocol
43 | availability of software, model, data | availability
44 | funding and the funders' role |
""")

TRIPOD_AI = _items("""
1 | title: model, population, outcome | purpose
2 | abstract |
3a | context and rationale | purpose
3b | target population, users, place in care |
3c | known health inequalities |
4 | objectives | goal
5a | sources of data, representativeness | sources
5b | dates of data |
6a | setting, centers |
6b | eligibility | eligibility
6c | treatments |
7 | preparation of data, quality checks | preprocessing
8a | outcome and how it was assessed | reference
8b | who assessed the outcome |
8c | blinding of the assessment |
9a | choice of predictors | predictors
9b | predictors, how and when measured | acquisition
9c | who assessed subjective predictors | no_subjective
10 | sample size | sample_size
11 | missing data | missing
12a | how data were used, partition | partition
12b | handling of predictors | preprocessing
12c | kind of model, building, tuning, internal validation | training
12d | heterogeneity between clusters | clusters
12e | measures and plots | measures
12f | updating of the model | updating
12g | how predictions are calculated | prediction
13 | class imbalance | imbalance
14 | fairness | fairness
15 | output of the model, thresholds | output
16 | differences between development and evaluation | differences
17 | ethical approval |
18a | funding |
18b | conflicts of interest |
18c | protocol | protocol
18d | registration |
18e | sharing of data | data_sharing
18f | sharing of code | availability
19 | involvement of patients and public |
20a | flow of participants | flow
20b | characteristics | characteristics
20c | comparison with the development data | differences
21 | participants and events in each analysis | events
22 | the full model | model
23a | performance with intervals | performance
23b | heterogeneity of performance | clusters
24 | results of updating | updating
25 | interpretation, fairness | fairness
26 | limitations | limitations
27a | poor or missing input | poor_input
27b | users' interaction and skill |
27c | next steps |
""")

GUIDELINES: Mapping[str, tuple[Item, ...]] = {"CLAIM 2024": CLAIM, "TRIPOD+AI": TRIPOD_AI}


def fill(answers: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Give the rows of each guideline with their answers; NOT_ESTABLISHED where there is none."""
    return {name: [_row(item, answers) for item in items] for name, items in GUIDELINES.items()}


def _row(item: Item, answers: Mapping[str, str]) -> dict[str, Any]:
    answer = answers.get(item.answer) or NOT_ESTABLISHED
    return {
        "number": item.number,
        "topic": item.topic,
        "answer": answer,
        "established": NOT_ESTABLISHED not in answer,  # wholly
    }
