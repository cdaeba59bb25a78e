"""What pages show, as figures and data: pure functions that know nothing of Streamlit."""
