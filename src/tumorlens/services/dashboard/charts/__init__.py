"""Charts and tables of the pages: pure functions that do not import Streamlit."""
