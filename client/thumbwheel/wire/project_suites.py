"""The suites of a project: their versions, the ledger of those that it adopts, and the outcomes of their tests."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from thumbwheel.wire.suites import Suite
from thumbwheel.wire.values import Body, Name, storable

#: The largest integer of Postgres.
MOST_VERSIONS = 2**31 - 1


class NewSuite(Body):
    """Store a suite. It runs in no evaluation until it is adopted."""

    suite: Suite
    note: Annotated[str, Field(max_length=2000), AfterValidator(storable)] = Field("", description="the reason for it")


class SuiteVersion(BaseModel):
    """A version of a suite, without its document. Version 0 of a name comes with the server."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    version: int = Field(description="counted by the server for each name, from 1; 0: it comes with the server")
    sha256: str = Field(description="of the document in its canonical form")
    tests: int
    samples: int = Field(description="tests with each of their prompts: texts that each model writes in a run")
    note: str
    adopted: bool = Field(description="whether evaluations run it now")
    created_at: datetime | None
    created_by: str | None


class StoredSuite(SuiteVersion):
    """A version of a suite with its whole document."""

    suite: Suite


class NewSuiteAdoption(Body):
    """Run a version of a suite in every evaluation from now on, or drop the suite."""

    name: Name
    version: Annotated[int, Field(ge=0, le=MOST_VERSIONS)] | None = Field(None, description="the version to adopt")
    drop: bool = False
    reason: Annotated[str, Field(max_length=500), AfterValidator(storable)] = Field("", description="for the ledger")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.version is None) != self.drop:
            raise ValueError("give either version or drop: true")
        return self


class SuiteAdoption(BaseModel):
    """An entry of the ledger of adopted suites. The newest one of each name counts."""

    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="1, 2, 3 … within the project")
    name: str
    version: int | None = Field(description="the adopted version; null: the suite was dropped")
    reason: str
    by: str
    created_at: datetime


class SuiteOfRun(BaseModel):
    """A suite that the project had adopted when the run was requested, and that its evaluation runs."""

    name: str
    version: int
    sha256: str


class SuiteAnswer(BaseModel):
    """The output of a model for a test of a suite, with the verdict on it."""

    output: str | None = Field(description="null: the model wrote none, and reason says why")
    cut_off: bool = Field(description="whether the output ended at the limit of tokens")
    verdict: Literal["passed", "failed", "undecided"]
    score: float | None
    reason: str


class SuiteOutcome(BaseModel):
    """A test of a suite with one of its prompts, and what each model wrote."""

    test: int = Field(description="the place of the test in the suite, from 0")
    description: str
    prompt_label: str
    candidate: SuiteAnswer
    shipped: SuiteAnswer
    ancestor: SuiteAnswer
