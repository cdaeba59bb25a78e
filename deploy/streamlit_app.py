"""The entry that Streamlit Community Cloud starts: set it as the main file of the app.

Without the server of `tumorlens dashboard` there is no cookie: a history lasts as long as its tab.
"""

import sys
from pathlib import Path

# requirements.txt holds what has a hash; the package itself is beside it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from tumorlens.services.dashboard.layout import draw

draw()
