"""The browser UI: `backstop app` opens Mesa's SolaraViz on a scenario and tells the story of the fund while it runs."""
