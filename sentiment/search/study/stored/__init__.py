"""One command's hold on a study: how it joins, claims trials, and ends them; see `study`."""
