"""The pages, as Streamlit draws them: where things stand, never what they are."""
