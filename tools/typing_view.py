"""Show the checkout as the wheel will be, by links in .typing/foveal, to tools that read code without running it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("backbones", "necks", "heads", "ops", "configs", "tools")


def main() -> None:
    """Make the links that are missing and drop those that lead nowhere."""
    view = ROOT / ".typing" / "foveal"
    view.mkdir(parents=True, exist_ok=True)
    for link in view.iterdir():
        if not link.exists():
            link.unlink()
    for source in [*(ROOT / "foveal").iterdir(), *(ROOT / folder for folder in FOLDERS)]:
        link = view / source.name
        if source.name != "__pycache__" and not link.exists():
            link.symlink_to(source, target_is_directory=source.is_dir())


if __name__ == "__main__":
    main()
