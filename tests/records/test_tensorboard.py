"""TensorBoard reads the numbers that the API tells."""

import io
import tarfile

import numpy
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event


def read(folder):
    """Every tag's points, as the accumulator has them."""
    # It expects its own order of steps; all points, not a sample.
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {tag: [(point.step, point.value) for point in accumulator.Scalars(tag)]
            for tag in accumulator.Tags()["scalars"]}


def expected(job):
    """The points that the API tells of; TensorBoard's numbers are float32."""
    points = {}
    for event in job.events:
        if event["type"] == "step":
            for name in ("loss", "grad_norm", "learning_rate", "epoch"):
                points.setdefault(f"train/{name}", []).append((event["step"], float(numpy.float32(event[name]))))
    for row in job.metrics["rows"]:
        for key, value in row["values"].items():
            points.setdefault(f"eval/{key}", []).append((row["step"], float(numpy.float32(value))))
    return points


@pytest.mark.parametrize("name", ["undisturbed", "killed"])
def test_every_scalar_is_the_api_s(name, request):
    job = request.getfixturevalue(name)
    found, wanted = read(job.folder / "tensorboard"), expected(job)
    assert found.keys() == wanted.keys()
    # 4 of training; 15 metrics at each of 3 dimensions, and one score.
    assert len(found) == 4 + 15 * 3 + 1
    for tag, points in wanted.items():
        assert found[tag] == points, tag


def test_a_killed_job_left_whole_records_in_a_file_for_each_part(killed):
    files = sorted((killed.folder / "tensorboard").iterdir())
    assert len(files) == 3, files
    for path in files:
        # The reader checks every checksum, and says so where the end is torn.
        records = list(RawEventFileLoader(str(path), detect_file_replacement=False).Load())
        events = [Event.FromString(record) for record in records]
        assert events[0].file_version == "brain.Event:2"
        assert sum(len(record) + 16 for record in records) == path.stat().st_size


def test_the_archive_is_the_folder(undisturbed, tmp_path):
    archive = undisturbed.server.fetch(f"/v1/jobs/{undisturbed.id}/tensorboard")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(tmp_path, filter="data")
    folder, = tmp_path.iterdir()
    assert read(folder) == read(undisturbed.folder / "tensorboard")


@pytest.mark.parametrize("name", ["undisturbed", "killed"])
def test_metrics_csv_is_the_api_s_table(name, request):
    job = request.getfixturevalue(name)
    table = job.server.fetch(f"/v1/jobs/{job.id}/metrics", {"accept": "text/csv"})
    assert (job.folder / "metrics.csv").read_bytes() == table
    assert len(table.splitlines()) == 2 + len(job.metrics["rows"]) - 1
