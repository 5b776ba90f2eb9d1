"""Which local program stands for which image: where its files lie in the image, what it starts and as which user."""

from dataclasses import dataclass, field
from pathlib import Path

# Where an image has a whole system, the machine's own root is that system.
SYSTEM = Path("/")


@dataclass(frozen=True)
class Image:
    """An image as its Containerfile would say it. Without `system` it holds its files and the C library alone: no shell."""

    entrypoint: tuple[str, ...]
    files: dict[str, Path] = field(default_factory=dict)
    user: int = 0
    system: bool = False
    environment: dict[str, str] = field(default_factory=dict)


class Images:
    """The images that this node can pull, by the last part of their name; their tags mean nothing here."""

    def __init__(self, images: dict[str, Image]) -> None:
        self._images = images

    def pull(self, reference: str) -> Image:
        """KeyError for an image that nothing stands for."""
        repository = reference.split("@")[0]
        name = repository.rsplit("/", 1)[-1].split(":")[0]
        return self._images[name]
