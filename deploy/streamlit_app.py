"""The entry that Streamlit Community Cloud starts: set it as the main file of the app.

Without the server of `tumorlens dashboard` there is no cookie: a history lasts as long as its tab.
"""

from tumorlens.services.dashboard.layout import draw

draw()
