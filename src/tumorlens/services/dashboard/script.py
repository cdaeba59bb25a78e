"""What Streamlit runs at every interaction."""

from tumorlens.services.dashboard.frame import draw

draw()
