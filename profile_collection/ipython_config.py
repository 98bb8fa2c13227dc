"""IPython's settings: the history is in each user's folder for state, not in this folder, which several may share."""

import platformdirs

history = platformdirs.user_state_path("saxs-bluesky") / "ipython" / "history.sqlite"
history.parent.mkdir(parents=True, exist_ok=True)

c = get_config()
c.HistoryAccessor.hist_file = str(history)
