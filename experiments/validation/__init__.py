"""`backstop validate`: what this installation computes, against numbers that others published or that arithmetic gives.

An experiment is a `Validation`: a name and a function that yields `Check`s. `oracles` are exact examples of single rules,
`known_answers` are markets with a closed form, `published` are results of papers. A new one is a function in one of these modules, or in
one of its own, and an entry of its list `VALIDATIONS`; `table` runs all lists.
"""
