"""Maps the top-level model folders to sub-packages of ``foveal``; everything else is in pyproject.toml."""

from setuptools import Command, find_packages, setup

FOLDERS = ("backbones", "necks", "heads", "ops", "configs", "tools")

packages = find_packages(include=["foveal", "foveal.*"])
for folder in FOLDERS:
    packages += [f"foveal.{folder}"] + [f"foveal.{folder}.{name}" for name in find_packages(folder)]


class build_ext(Command):
    """Build the kernels ahead of time, where torch is installed; those for NVIDIA GPUs where nvcc is."""

    user_options = []

    def initialize_options(self) -> None:
        """Nothing to set."""

    def finalize_options(self) -> None:
        """Nothing to settle."""

    def run(self) -> None:
        """Build."""
        from foveal.ops import compiled, compiled_cuda

        for path in [*compiled.build_ahead(), *compiled_cuda.build_ahead()]:
            self.announce(str(path), level=2)


setup(
    cmdclass={"build_ext": build_ext},
    packages=packages,
    package_dir={"foveal": "foveal", **{f"foveal.{folder}": folder for folder in FOLDERS}},
    package_data={
        "foveal": ["py.typed", "zoo/index/*.yaml"],
        "foveal.configs": ["**/*.py"],
        "foveal.ops": ["csrc/*/*", "csrc/*.so"],
    },
    include_package_data=False,
)
