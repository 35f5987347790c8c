"""One thing that is wrong with a dataset."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a dataset.

    Args:
        kind: A few words that findings of this kind share; `foveal.data.check.check_dataset` lists them.
        file: The file that it is in.
        detail: What was expected and what is there.
    """

    kind: str
    file: str
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.kind}: {self.detail}"
