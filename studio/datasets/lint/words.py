"""What a row says in its own words, without those of the template that it is written into."""

from typing import NamedTuple

from studio.datasets.example import Example, Segment


class Words(NamedTuple):
    """``asked`` is what a row puts before the model, ``answered`` what it is to learn."""

    asked: str
    answered: str

    @property
    def text(self) -> str:
        return f"{self.asked}\n{self.answered}" if self.answered else self.asked


def words_of(example: Example) -> Words:
    """The words of an example; those of plain text are asked, as it has no answer of its own."""
    if example.messages:
        *before, last = (str(message["content"]) for message in example.messages)
        return Words("\n".join(before), last)
    asked = "\n".join(_own(segment) for segment in example.segments if not segment.trained)
    answered = "\n".join(_own(segment) for segment in example.segments if segment.trained)
    if example.label is not None:
        return Words(asked, str(example.label))
    return Words(asked, answered) if asked else Words(answered, "")


def _own(segment: Segment) -> str:
    """A segment without the spans that its template wrote."""
    text, end = "", 0
    for start, stop in segment.own:
        text += segment.text[end:start] + " "
        end = stop
    return (text + segment.text[end:]).strip()
