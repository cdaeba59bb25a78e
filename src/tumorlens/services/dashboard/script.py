"""What Streamlit runs at every interaction."""

from tumorlens.services.dashboard.layout import draw

draw()
