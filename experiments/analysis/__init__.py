"""What a study's runs say: pure functions from the summary table to tidy tables, each estimate with its interval."""
