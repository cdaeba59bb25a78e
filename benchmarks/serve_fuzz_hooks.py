"""What schemathesis sends as a file where a valid one is asked for: a phantom."""

import schemathesis
from hypothesis import strategies as st
from service_process import phantom_jpeg

schemathesis.openapi.format("binary", st.sampled_from([phantom_jpeg(seed) for seed in range(4)]))
