"""The names of the codecs, for whoever need not load one. Knows nothing else."""

from typing import Literal, get_args

CodecName = Literal["exact", "int8", "bits4", "bits3", "bits2"]
NAMES: tuple[CodecName, ...] = get_args(CodecName)
