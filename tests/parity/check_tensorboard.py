"""Read event files with the tensorboard package and print every tag with its steps and values.

    python tests/parity/check_tensorboard.py FILE_OR_FOLDER...

Fails when a file has no scalar, or holds bytes behind the last record that can be read.
"""

import math
import pathlib
import struct
import sys
from importlib import metadata

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader


def main():
    """Print what is in each file or folder named on the command line."""
    print("tensorboard", metadata.version("tensorboard"))
    for name in sys.argv[1:]:
        path = pathlib.Path(name)
        files = sorted(path.rglob("*tfevents*")) if path.is_dir() else [path]
        assert files, f"{name}: no event file"
        for file in files:
            show(file)


def show(file):
    """The raw records, then what is left after tensorboard has dropped the points of a killed process."""
    events = list(LegacyEventFileLoader(str(file)).Load())
    assert count_records(file.read_bytes()) == len(events), f"{file}: a record could not be read"
    assert events[0].file_version == "brain.Event:2", events[0]
    print(f"{file.name}: {len(events)} records, the first at {events[0].wall_time}")
    accumulator = EventAccumulator(str(file), size_guidance={"scalars": 0})
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    assert tags, f"{file}: no scalar"
    for tag in tags:
        points = accumulator.Scalars(tag)
        steps = [point.step for point in points]
        assert steps == sorted(set(steps)), f"{tag}: steps {steps}"
        print(" ", tag, " ".join(f"{point.step}:{shown(point.value)}" for point in points))


def shown(value):
    """A value in a few digits."""
    return "nan" if math.isnan(value) else f"{value:.6g}"


def count_records(data):
    """Records by their lengths alone; every byte must belong to one."""
    at = count = 0
    while at < len(data):
        at += struct.unpack_from("<Q", data, at)[0] + 16
        count += 1
    assert at == len(data), f"{len(data)} bytes, but the records end at {at}"
    return count


if __name__ == "__main__":
    main()
