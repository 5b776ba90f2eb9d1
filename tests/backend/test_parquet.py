"""Parquet against an implementation that shares no code with the tool's: pyarrow reads what `export` writes, and writes
what `import` reads."""

import json
import math
import os
import struct
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import cache_object, programs

SECONDS = 60
# Float16s over one number, and what no half precision holds.
VECTORS = [
    [0.5, -0.25, 0.75, -0.0, 0.0078125],
    [0.1, -math.pi, 3.4028234663852886e38, 1.1754943508222875e-38, 1e-45],
    [-0.3, 0.7, -1e-7, 1e7, -0.0],
]
TEXTS = ["plain", 'qu"ote ö \U0001f600\n', "a\tb"]


def floats(vector) -> bytes:
    return cache_object.floats(vector)


def bits(vectors) -> list[bytes]:
    return sorted(floats(vector) for vector in vectors)


class Tool:
    """The program, on a store in a directory."""

    def __init__(self, folder: Path):
        self.store, self.folder = folder / "store", folder
        self.store.mkdir()

    def run(self, *arguments) -> subprocess.CompletedProcess:
        environment = {"PATH": os.environ["PATH"], "STORE": f"file://{self.store}", "CACHE_SCOPE": "shared"}
        command = [programs.GATEWAY, *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)

    def imports(self, columns: dict, **options) -> subprocess.CompletedProcess:
        """A table as pyarrow writes it."""
        path = self.folder / "in.parquet"
        pq.write_table(pa.table(columns), path, **options)
        return self.run("import", path, "--model", "m")

    def objects(self) -> list[cache_object.Entry]:
        files = (path for path in self.store.rglob("*") if path.is_file())
        return [cache_object.decode(path.read_bytes()) for path in files]


@pytest.fixture
def tool(tmp_path) -> Tool:
    return Tool(tmp_path)


def test_pyarrow_reads_every_bit_of_an_export(tool, tmp_path):
    lines = tmp_path / "vectors.jsonl"
    rows = [{"input": text, "embedding": vector, "tokens": 7} for text, vector in zip(TEXTS, VECTORS, strict=True)]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = tool.run("import", lines, "--model", "m", "--created", "2026-01-31")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "vectors.parquet"
    assert tool.run("export", "--format", "parquet", "--output", out).returncode == 0

    table = pq.read_table(out)
    assert table.schema.field("embedding").type.value_type == pa.float32()
    assert not any(table.schema.field(name).nullable for name in table.column_names)
    columns = table.to_pydict()
    assert bits(columns["embedding"]) == bits(VECTORS)
    assert sorted(columns["key"]) == columns["key"] == sorted(path.name for path in tool.store.rglob("*") if path.is_file())
    assert columns["model"] == ["m"] * 3 and columns["dimensions"] == [5] * 3 and columns["tokens"] == [7] * 3
    assert {time.isoformat() for time in columns["created"]} == {"2026-01-31T00:00:00+00:00"}

    exported = [json.loads(line) for line in tool.run("export").stdout.splitlines()]
    assert [floats(line["embedding"]) for line in exported] == [floats(vector) for vector in columns["embedding"]]


def rounded(vector, kind: str) -> list[float]:
    """As a list of this type keeps it."""
    return list(struct.unpack(f"<{len(vector)}{kind}", struct.pack(f"<{len(vector)}{kind}", *vector)))


SMALL = [[0.5, -0.25, 0.1], [0.3, 1.0, -2.0], [1e-3, 7.5, -0.0]]


@pytest.mark.parametrize(
    ("kind", "compression"),
    [
        (pa.list_(pa.float32()), "snappy"),
        # As pandas writes lists of Python's numbers, and numpy's arrays.
        (pa.list_(pa.float64()), "gzip"),
        (pa.list_(pa.float32(), 3), "lz4"),
        (pa.large_list(pa.float64()), "none"),
        (pa.list_(pa.float16()), "snappy"),
    ],
    ids=str,
)
def test_lists_of_every_float_are_imported_bit_for_bit(tool, kind, compression):
    halves = kind.value_type == pa.float16()
    vectors = [rounded(vector, "e") if halves else vector for vector in SMALL]
    done = tool.imports({"input": TEXTS, "embedding": pa.array(vectors, kind), "tokens": [3, 4, 5]}, compression=compression)
    assert (done.returncode, done.stdout) == (0, "3 vectors of 3 numbers; 3 written\n"), done.stderr
    assert bits(entry.vector for entry in tool.objects()) == bits(vectors)
    assert sorted(entry.tokens for entry in tool.objects()) == [3, 4, 5]
    # The same as lines: under the same keys.
    lines = tool.folder / "same.jsonl"
    lines.write_text("".join(json.dumps({"input": text, "embedding": rounded(vector, "f")}) + "\n" for text, vector in zip(TEXTS, vectors, strict=True)))
    again = tool.run("import", lines, "--model", "m")
    assert again.stdout.endswith("; 0 written, 3 there already\n"), again.stdout


def test_what_other_programs_write_beside_the_vectors_does_not_matter(tool):
    columns = {
        "__index_level_0__": [0, 1, 2],
        "id": ["x", None, "z"],
        "input": pa.array(TEXTS).dictionary_encode(),
        "metadata": [{"page": 1}, None, {"page": 3}],
        "time": pa.array([1, 2, None], pa.timestamp("ns")),
        "nested": [[{"a": [1]}], [], None],
        "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int32())),
        # pandas makes floats of whole numbers where some are missing.
        "tokens": [300.0, float("nan"), 500.0],
        "model": ["m", None, "m"],
        "embedding": SMALL,
    }
    done = tool.imports(columns, row_group_size=2)
    assert (done.returncode, done.stdout) == (0, "3 vectors of 3 numbers, 1 token counts are estimated; 3 written\n"), done.stderr
    assert bits(entry.vector for entry in tool.objects()) == bits(SMALL)
    assert {300, 500} < {entry.tokens for entry in tool.objects()}


def test_lists_of_tokens_and_base64_are_what_they_are_in_lines(tool):
    tokens, vectors = [[1, 2, 300_000], [4]], SMALL[:2]
    encoded = [cache_object.floats(vector) for vector in vectors]
    done = tool.imports({"input": pa.array(tokens, pa.list_(pa.uint32())), "embedding": vectors})
    assert (done.returncode, done.stdout) == (0, "2 vectors of 3 numbers; 2 written\n"), done.stderr
    assert sorted(entry.tokens for entry in tool.objects()) == [1, 3]
    assert sorted(entry.floats() for entry in tool.objects()) == sorted(encoded)


def table(**changes) -> dict:
    return {"input": TEXTS, "embedding": SMALL} | changes


NOT_NUMBERS = '"embedding" is no list of numbers (or an empty one), and no base64 of 32-bit floats'
WORTHLESS = '"embedding" is empty, all zero or not finite as 32-bit floats'
FAULTS = {
    "nan": (table(embedding=[*SMALL[:2], [1.0, float("nan"), 2.0]]), f"row 3: {WORTHLESS}"),
    "beyond-f32": (table(embedding=[[1e300, 1.0, 1.0], *SMALL[1:]]), f"row 1: {WORTHLESS}"),
    "zero": (table(embedding=[SMALL[0], [0.0] * 3, SMALL[2]]), f"row 2: {WORTHLESS}"),
    "length": (table(embedding=[SMALL[0], [1.0], SMALL[2]]), "row 2: has 1 numbers instead of 3"),
    "null-vector": (table(embedding=[SMALL[0], None, SMALL[2]]), 'row 2: has no "embedding"'),
    "null-number": (table(embedding=[SMALL[0], [1.0, None, 2.0], SMALL[2]]), f"row 2: {NOT_NUMBERS}"),
    "null-input": (table(input=["a", None, "c"]), 'row 2: has no "input"'),
    "repeat": (table(input=["a", "b", "a"]), "row 3: has the input of row 1, and other numbers"),
    "model": (table(model=["m", "n", "m"]), 'row 2: is of the model "n"'),
    "tokens": (table(tokens=[1.0, 2.5, 3.0]), 'row 2: "tokens" is no whole number from 1 on'),
    "nested-inputs": (table(input=[["a"], ["b", "c"], ["d"]]), 'row 2: "input" holds 2 inputs'),
    "field": (table(input_type=["query"] * 3), 'row 1: has "input_type", which may decide the vector'),
    "no-vectors": ({"text": TEXTS, "vector": SMALL}, 'row 1: has no "input"'),
    "empty": (table(input=pa.array([], pa.string()), embedding=pa.array([], pa.list_(pa.float32()))), "holds no vectors"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_its_row_and_nothing_is_written(tool, name):
    columns, words = FAULTS[name]
    done = tool.imports(columns)
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    assert tool.objects() == []


def test_files_that_cannot_be_read_say_why(tool):
    zstd = tool.imports(table(), compression="zstd")
    assert (zstd.returncode, "is compressed by ZSTD: write it with snappy or gzip" in zstd.stderr) == (1, True), zstd.stderr
    assert tool.imports(table(), compression="snappy").returncode == 0
    path = tool.folder / "in.parquet"
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[4:60] = bytes(56)
    for name, data in {"cut": whole[:-9], "magic": b"PAR1", "damaged": bytes(damaged)}.items():
        path.write_bytes(data)
        done = tool.run("import", path, "--model", "other")
        assert (done.returncode, "is no Parquet that can be read: " in done.stderr) == (1, True), (name, done.stderr)
    assert len(tool.objects()) == 3
